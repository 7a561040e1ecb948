/** The folders and files where the binaries of this package may be. */

import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { environmentVariable } from '../../base/environment.ts';
import { packageRoot } from '../../base/package.ts';

const require = createRequire(import.meta.url);

/** Binaries that are part of the package: the addon, and a library for each CUDA version. */
export const prebuiltFolder = join(packageRoot, 'prebuilds', `${platform()}-${arch()}`);

/** Binaries that the user built: they come first. */
export const builtFolder = join(packageRoot, 'build', 'Release');

/** The addon's files in the order in which they are tried. If SANA_NATIVE_ADDON is set, its file is the only one. */
export function addonCandidates(): string[] {
  const given = environmentVariable('SANA_NATIVE_ADDON');
  if (given !== undefined) return [given];
  const found: string[] = [];
  try {
    // The binary that the user built, otherwise the one for this platform, libc and version of Node.
    found.push((require('node-gyp-build') as { path(root: string): string }).path(packageRoot));
  } catch {
    return []; // there is none
  }
  // If the user's binary cannot be loaded, the prebuilt one may work.
  if (existsSync(prebuiltFolder)) {
    const prebuilt = readdirSync(prebuiltFolder).filter((name) => name.endsWith('.node'));
    found.push(...prebuilt.map((name) => join(prebuiltFolder, name)));
  }
  return [...new Set(found)];
}
