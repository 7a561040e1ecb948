/**
 * Writes the files that are generated from tables in the source. Tests check each file against its table.
 *
 *     npm run generate
 */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../lib/base/package.ts';
import { environmentPage } from './generate/environment.ts';
import { optionsPage } from './generate/options-page.ts';
import { typesFile } from './generate/request-types.ts';
import { generated } from './generate/tables.ts';

/** Each file; those whose text is kept, with only the tables rewritten, are made from their current content. */
const FILES: Readonly<Record<string, (before: () => string) => string>> = {
  ...generated,
  'lib/request/types.ts': typesFile,
  'docs/options.md': (before) => optionsPage(before()),
  'docs/environment.md': environmentPage,
};

for (const [path, text] of Object.entries(FILES)) {
  const file = join(packageRoot, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    text(() => readFileSync(file, 'utf8')),
  );
}
