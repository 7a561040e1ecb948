/**
 * Assigns every caption its probability of being read, from the scores that the `score` stage wrote.
 *
 *   npm run weigh-captions -- [folder] [threshold] [temperature]
 *
 * Reads the captions and scores of each kind and writes `weighted<kind>.json`, `{ key: [[text, chance], ...] }`. Without
 * scores, only the prompt is read.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { captionProbabilities, readCandidates } from './captions/select-caption.ts';
import { KINDS } from './captions/write-captions.ts';

const [folder = join('.cache', 'training'), threshold = '25', temperature = '0.1'] = process.argv.slice(2);
const options = { threshold: Number(threshold), temperature: Number(temperature) };

for (const kind of KINDS) {
  const pictures = await readCandidates(join(folder, 'captions'), [kind]);
  const weighted: Record<string, [string, number][]> = {};
  for (const [key, candidates] of pictures) {
    const chances = captionProbabilities(candidates, options);
    weighted[key] = candidates
      .map(({ text }, i): [string, number] => [text, Number((chances[i] ?? 0).toFixed(4))])
      .filter(([, chance]) => chance > 0);
  }
  await writeFile(join(folder, `weighted${kind}.json`), JSON.stringify(weighted));
  console.log(`${Object.keys(weighted).length} pictures with captions of kind '${kind}'`);
}
