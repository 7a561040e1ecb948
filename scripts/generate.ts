/**
 * Writes the files that are generated from tables of the source. Tests hold each to its table.
 *
 *     npm run generate
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../lib/base/package.ts';
import { environmentPage } from './generate/environment.ts';

const FILES: Readonly<Record<string, () => string>> = {
  'docs/environment.md': environmentPage,
};

for (const [file, text] of Object.entries(FILES)) writeFileSync(join(packageRoot, file), text());
