/** `sana-native vocabulary`: what a small model can be asked to draw. */

import { Command } from 'commander';
import { BUILT_IN_MODEL, readVocabulary, SanaError } from '../../index.ts';
import { printJson, printLines } from '../output.ts';

const COLUMNS = 100;

export function vocabularyCommand(): Command {
  return new Command('vocabulary')
    .description('list what a small model can draw: subjects, styles and backgrounds')
    .option('--model <folder>', `checkpoint folder (default: '${BUILT_IN_MODEL}', part of the package)`)
    .option('--json', 'print one JSON object on standard output')
    .action(vocabulary);
}

async function vocabulary({ model = BUILT_IN_MODEL, json }: { model?: string; json?: boolean }): Promise<void> {
  const known = await readVocabulary(model);
  if (known === undefined) {
    throw new SanaError('ERR_SANA_ARGUMENT', `${model} has no list of what it can draw`, {
      hint: 'The released models draw whatever a prompt describes: only small ones come with a vocabulary.json.',
    });
  }
  if (json === true) return await printJson(known);
  const { subjects, styles, backgrounds } = known;
  await printLines([
    `${subjects.length} subjects:`,
    ...wrapped(subjects),
    '',
    `styles: ${styles.join(', ')}`,
    `backgrounds: ${backgrounds.join(', ')}`,
    '',
    `For example: sana-native "${subjects[0]}, ${styles[0]} style, ${backgrounds.at(-1)} background"`,
  ]);
}

/** Words separated by commas, in indented lines. */
function wrapped(words: readonly string[]): string[] {
  const lines: string[] = [];
  let line = ' ';
  for (const [i, word] of words.entries()) {
    const piece = ` ${word}${i + 1 < words.length ? ',' : ''}`;
    if (line.length + piece.length > COLUMNS) {
      lines.push(line);
      line = ' ';
    }
    line += piece;
  }
  return [...lines, line];
}
