/** The package's version, from its own package.json. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from './native.ts';

export const version: string = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')).version;
