/**
 * Writes what comes from the request table: lib/request/types.ts and the tables of docs/options.md. A test holds that
 * both are up to date.
 *
 *     npm run generate:options
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../lib/base/package.ts';
import { optionsPage } from './request-table/documents.ts';
import { typesFile } from './request-table/types.ts';

writeFileSync(join(packageRoot, 'lib/request/types.ts'), typesFile());
const page = join(packageRoot, 'docs/options.md');
writeFileSync(page, optionsPage(readFileSync(page, 'utf8')));
