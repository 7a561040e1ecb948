/**
 * The folder of this package, and its version. The addon, the built-in model and the code of threads are files in it,
 * so the package cannot be bundled: the entry points import this file before all others, to report that first.
 */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SanaError } from './errors.ts';

function locate(url: string | undefined): { packageRoot: string; version: string } {
  try {
    const packageRoot = dirname(dirname(dirname(fileURLToPath(url ?? '')))); // bundlers leave CommonJS without a URL
    const { name, version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'));
    if (name === 'sana-native') return { packageRoot: unpacked(packageRoot), version };
  } catch {
    // reported below
  }
  throw new SanaError(
    'ERR_SANA_ADDON',
    'sana-native was bundled, so it cannot find its addon, its built-in model and the code of its threads',
    {
      hint: 'Keep it external, and installed: `--external:sana-native` for esbuild, `serverExternalPackages` for Next.',
    },
  );
}

/**
 * The path of a folder for native code if it is in an Electron application's archive: only JavaScript can read files in
 * `app.asar`; unpacked files are in `app.asar.unpacked`.
 */
export function unpacked(folder: string): string {
  const beside = folder.replace(/\.asar(?=[\\/])/, '.asar.unpacked');
  return existsSync(beside) ? beside : folder;
}

/** This file is two folders below `packageRoot`, in lib/ as well as in dist/. */
export const { packageRoot, version } = locate(import.meta.url);
