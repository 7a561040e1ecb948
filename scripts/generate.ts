/** Writes the C++ side of the tables, core/generated/. A test compares the files with what this would write. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { packageRoot } from '../lib/base/package.ts';
import { generated } from './generate/tables.ts';

for (const [path, text] of Object.entries(generated)) {
  const file = join(packageRoot, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text());
}
