/** Why no addon could be loaded, and what to do about it. */

import { arch, platform } from 'node:os';
import { basename, relative } from 'node:path';
import { SanaError } from '../../base/errors.ts';
import { packageRoot } from '../../base/package.ts';
import { prebuiltFolder } from './candidates.ts';

export interface FailedCandidate {
  readonly file: string;
  readonly reason: string;
}

const BUILD = 'run `npx sana-native build`, which needs CMake 3.24 and a C++20 compiler (GCC 12, Clang 16)';

/** What to do about an error of Node or the system's loader: the first pattern that matches decides. */
const FIXES: readonly (readonly [RegExp, string])[] = [
  [/ERR_DLOPEN_DISABLED|--no-addons/, 'Start Node without --no-addons.'],
  [
    /GLIBC(XX)?_[\d.]+' not found/,
    `The system's C library is older than the prebuilt binary needs (glibc 2.34: Debian 12, Ubuntu 22.04, RHEL 9): use a newer system, or ${BUILD}.`,
  ],
  [
    /ld-linux|libc\.musl|Error relocating|fcntl64/,
    `Prebuilt binaries are for glibc, not for musl (Alpine): use an image such as node:22-bookworm-slim, or ${BUILD}.`,
  ],
  [
    /invalid ELF header|wrong ELF class|file too short|not a valid Win32|mach-o|incompatible architecture/i,
    `The file is for another system, or damaged: install the package again on this one (node_modules cannot be copied between systems), or ${BUILD}.`,
  ],
  [/libstdc\+\+|libgcc_s/, "Install the C++ runtime (Debian: libstdc++6), which Node's own builds also need."],
  [/undefined symbol|NODE_MODULE_VERSION|did not self-register/, 'Use Node 20.19 or later.'],
  [
    /EACCES|Permission denied|failed to map segment/i,
    'Check that the file is readable and that its file system is not mounted noexec.',
  ],
  [
    /cannot open shared object file|ENOENT|Cannot find module/,
    `A file is missing: install the package again, or ${BUILD}.`,
  ],
];

export function loadError(failed: readonly FailedCandidate[], cause: unknown): SanaError {
  const system = `${platform()}-${arch()}, Node ${process.versions.node}`;
  if (failed.length === 0) {
    const hint = `To compile it for this system, ${BUILD}.`;
    return new SanaError(
      'ERR_SANA_ADDON',
      `There is no native addon for ${system}: neither prebuilt in ${relative(packageRoot, prebuiltFolder)} nor compiled`,
      { hint: hint.charAt(0).toUpperCase() + hint.slice(1) },
    );
  }
  const list = failed.map(({ file, reason }) => `\n  ${file}: ${reason}`).join('');
  const hints = failed.map(
    ({ reason }) => FIXES.find(([pattern]) => pattern.test(reason))?.[1] ?? `Install the package again, or ${BUILD}.`,
  );
  return new SanaError('ERR_SANA_ADDON', `The native addon could not be loaded on ${system}. Tried:${list}`, {
    hint: [...new Set(hints)].join(' '),
    cause,
  });
}

/** The error of a failed load, in one line. */
export function reasonOf(error: unknown, file: string): string {
  const { code, message } = error as { code?: string; message?: string };
  const text = (message ?? String(error)).split('\n')[0]?.replaceAll(`${file}: `, '').trim() ?? '';
  return code === undefined || text.includes(code) ? text || basename(file) : `${text} (${code})`;
}
