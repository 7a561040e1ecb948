/** A folder that appears completely or not at all. */

import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, realpath, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { SanaError } from '../base/errors.ts';

export interface OutputFolder {
  readonly path: string;
  readonly force: boolean; // replace what is there, if it is a component or a pipeline
  readonly bytes: number; // that will be written, at least
  readonly inputs: readonly string[]; // files and folders that must outlive a replacement
}

/**
 * Creates a folder from what `fill` writes into an empty one. That one is next to the target and replaces it at the
 * end. After a failure it is removed, together with any parent folders that were created.
 */
export async function makeFolder(output: OutputFolder, fill: (partial: string) => Promise<void>): Promise<void> {
  const target = resolve(output.path);
  await checkOutput(output);
  const unique = randomBytes(6).toString('hex');
  const partial = `${target}.partial-${unique}`;
  let made: string | undefined; // the topmost folder that was missing
  try {
    made = await mkdir(dirname(target), { recursive: true });
    await checkSpace(dirname(target), output.bytes);
    await mkdir(partial);
    await fill(partial);
    await syncFolders(partial);
    await replace(target, partial, `${target}.replaced-${unique}`);
  } catch (cause) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined);
    await removeEmpty(dirname(target), made);
    throw isSystemError(cause) ? writeError(target, cause.message, cause) : cause;
  }
}

/** Finds out before any work whether the folder may be created; `makeFolder` checks again. */
export async function checkOutput({ path, force, inputs }: Omit<OutputFolder, 'bytes'>): Promise<void> {
  const target = resolve(path);
  let names: string[];
  try {
    names = await readdir(target);
  } catch (cause) {
    if (isSystemError(cause) && cause.code === 'ENOENT') return;
    throw writeError(target, 'it is not a folder', cause);
  }
  if (names.length === 0) return;
  if (!force) {
    throw writeError(
      target,
      'it already exists',
      undefined,
      'Choose another folder, or replace this one with --force.',
    );
  }
  // Only what this command creates is ever removed.
  if (!names.includes('model_index.json') && !names.includes('config.json')) {
    throw writeError(
      target,
      'it is not a model: there is neither a model_index.json nor a config.json in it',
      undefined,
      'Only a model can be replaced; choose another folder.',
    );
  }
  const real = await realpath(target);
  for (const input of inputs) {
    const way = relative(real, await realpath(input).catch(() => input));
    if (way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way))) {
      throw writeError(target, `'${input}' is inside it`, undefined, 'Choose another folder.');
    }
  }
}

async function checkSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  if (bytes <= free) return;
  const gigabytes = (value: number) => `${(value / 1e9).toPrecision(3)} GB`;
  throw writeError(
    folder,
    `it needs ${gigabytes(bytes)}, and ${gigabytes(free)} are free`,
    undefined,
    'Free some space, or choose a folder on another disk.',
  );
}

/** Puts `partial` in the place of `target`, which is restored if that fails. */
async function replace(target: string, partial: string, aside: string): Promise<void> {
  const there = await rename(target, aside).then(
    () => true,
    (cause) => {
      if (isSystemError(cause) && cause.code === 'ENOENT') return false;
      throw cause;
    },
  );
  try {
    await rename(partial, target);
  } catch (cause) {
    if (there) await rename(aside, target);
    throw cause;
  }
  await syncFolder(dirname(target));
  if (there) await rm(aside, { recursive: true, force: true });
}

/** Removes created folders, from the innermost one up, as long as they are empty. */
async function removeEmpty(folder: string, topmost: string | undefined): Promise<void> {
  if (topmost === undefined) return;
  for (let at = folder; at.startsWith(topmost); at = dirname(at)) {
    if (
      !(await rmdir(at).then(
        () => true,
        () => false,
      ))
    )
      return;
  }
}

async function syncFolders(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await syncFolders(join(folder, entry.name));
  }
  await syncFolder(folder);
}

/** Names are on disk once their folder is synced; not every system can open a folder. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  try {
    await handle?.sync().catch(() => undefined);
  } finally {
    await handle?.close();
  }
}

function isSystemError(cause: unknown): cause is NodeJS.ErrnoException {
  return cause instanceof Error && 'syscall' in cause;
}

function writeError(
  path: string,
  reason: string,
  cause: unknown,
  hint = 'Check that you may write there and that the disk is not full.',
): SanaError {
  return new SanaError('ERR_SANA_FILE', `${path} cannot be written: ${reason}`, { hint, cause });
}
