/** Reading and writing whole files, with errors that say what to do. */

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { SanaError } from '../base/errors.ts';

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'Check the path.',
  EACCES: 'Check the permissions of the file and of its folder.',
  EPERM: 'Check the permissions of the file and of its folder.',
  EROFS: 'Choose a folder that is not on a read-only file system.',
  ENOSPC: 'Free some disk space.',
  ENOTDIR: 'A part of the path is a file where a folder is needed.',
  EEXIST: 'A part of the path is a file where a folder is needed.',
  EISDIR: 'Name a file, not a folder.',
  ENAMETOOLONG: 'Choose a shorter name.',
};

export function fileError(message: string, cause: unknown): SanaError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new SanaError('ERR_SANA_FILE', `${message}: ${reason}`, { hint: HINTS[code] ?? 'Check the path.', cause });
}

/** The bytes of a regular file. Pipes and devices are rejected: they could block for ever. */
export async function readWholeFile(path: string, maxBytes: number): Promise<Buffer> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const info = await file.stat();
    if (!info.isFile()) throw new Error('it is not a regular file');
    if (info.size > maxBytes) throw new Error(`it has ${info.size} bytes, at most ${maxBytes} are read`);
    // Read no more than the size found, even if the file grows meanwhile.
    const bytes = Buffer.allocUnsafe(info.size);
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  } catch (cause) {
    throw fileError(`Cannot read '${path}'`, cause);
  }
}

/** Creates a folder and its missing parents. */
export async function makeFolder(folder: string): Promise<void> {
  // Not with mkdir's own recursion, which never ends where the system allows no folders, as in /proc.
  if ((await stat(folder).catch(() => undefined))?.isDirectory()) return;
  if (dirname(folder) !== folder) await makeFolder(dirname(folder));
  await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

/**
 * Writes a file completely or not at all: under a temporary name in its folder, which is created if missing, then
 * renamed.
 */
export async function writeWholeFile(path: string, data: Uint8Array): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path).slice(0, 100)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    await makeFolder(folder);
    const there = await stat(path).catch(() => undefined);
    if (there?.isDirectory()) throw Object.assign(new Error('there is a folder of that name'), { code: 'EISDIR' });
    await writeFile(temporary, data, { flag: 'wx' });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError(`Cannot write '${path}'`, cause);
  }
}
