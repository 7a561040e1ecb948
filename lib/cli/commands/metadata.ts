/** `sana-native metadata`: prints what an image was made from, without a model. */

import { Command } from 'commander';
import { printJson, printLines } from '../output.ts';
import { readRequest } from '../repeat.ts';

export function metadataCommand(): Command {
  return new Command('metadata')
    .description('print what an image was made from')
    .argument('<image>', 'a PNG, JPEG, WebP or AVIF file')
    .option('--json', 'print one JSON object on standard output')
    .action(async (image: string, { json }: { json?: boolean }) => {
      const { made } = await readRequest(image);
      if (json === true) return await printJson(made);
      const fields = Object.entries(made);
      const width = Math.max(...fields.map(([name]) => name.length));
      const indent = ' '.repeat(width + 2);
      await printLines(
        fields.map(([name, value]) => {
          const lines = (Array.isArray(value) ? value : [value]).map((line) =>
            typeof line === 'object' && line !== null ? JSON.stringify(line) : String(line),
          );
          const text = lines.join('\n');
          return `${name.padEnd(width)}  ${text.replaceAll('\n', `\n${indent}`)}`;
        }),
      );
    });
}
