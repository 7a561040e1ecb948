/**
 * Writes the files that are generated from tables of the source. Tests hold each to its table.
 *
 *     npm run generate
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../lib/base/package.ts';
import { environmentPage } from './generate/environment.ts';
import { generated } from './generate/tables.ts';

const FILES: Readonly<Record<string, () => string>> = {
  ...generated,
  'docs/environment.md': environmentPage,
};

for (const [path, text] of Object.entries(FILES)) {
  const file = join(packageRoot, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text());
}
