/**
 * The cache that Python's huggingface_hub keeps, one folder for each repository:
 *
 *     models--owner--name/
 *       blobs/HASH                     the contents: sha256 of what LFS holds, git's own hash of everything else
 *       snapshots/COMMIT/vae/config.json -> ../../../blobs/HASH
 *       refs/main                      the commit that a branch or tag was at
 *     .locks/models--owner--name/HASH.lock
 *
 * Whatever is there under its final name is whole: it was written under another one and renamed.
 */

import { createHash, randomBytes } from 'node:crypto';
import {
  constants,
  copyFile,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { integrityError } from './failures.ts';
import type { RemoteFile } from './listing.ts';
import { cacheFolderName, isCommit, isSafeFileName } from './repository.ts';

/** What https://bford.info/cachedir asks for, so that backups leave the folder out; in the words that Python writes. */
const CACHEDIR_TAG =
  'Signature: 8a477f597d28d172789f06886806bc55\n' +
  '# This file is a cache directory tag created by huggingface_hub.\n' +
  '# For information about cache directory tags, see:\n' +
  '#\thttps://bford.info/cachedir/\n';

export class RepositoryCache {
  readonly cacheDir: string;
  readonly #folder: string;
  readonly #locks: string;
  readonly #symlinks: boolean;

  constructor(cacheDir: string, repository: string, symlinks: boolean) {
    const name = cacheFolderName(repository);
    this.cacheDir = cacheDir;
    this.#folder = join(cacheDir, name);
    this.#locks = join(cacheDir, '.locks', name);
    this.#symlinks = symlinks;
  }

  blob({ hash }: RemoteFile): string {
    return join(this.#folder, 'blobs', hash);
  }

  /** Where a blob lies until it is whole; the name that huggingface_hub resumed from as long as it resumed. */
  partial({ hash }: RemoteFile): string {
    return join(this.#folder, 'blobs', `${hash}.incomplete`);
  }

  /** How much of a blob an earlier or another download has got. */
  async partialSize(file: RemoteFile): Promise<number> {
    return (await sizeOf(this.partial(file))) ?? 0;
  }

  /** The lock that Python takes. */
  lock({ hash }: RemoteFile): string {
    return join(this.#locks, `${hash}.lock`);
  }

  snapshot(commit: string): string {
    return join(this.#folder, 'snapshots', commit);
  }

  pointer(commit: string, name: string): string {
    if (!isSafeFileName(name)) throw integrityError(JSON.stringify(name), 'is not a name that a file can have here');
    return join(this.snapshot(commit), ...name.split('/'));
  }

  /** The commit that a revision was at when it was last asked for, or null. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const text = await readFile(join(this.#folder, 'refs', ...revision.split('/')), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : null;
  }

  /** Makes the folders of the repository. */
  async create(): Promise<void> {
    await mkdir(join(this.#folder, 'blobs'), { recursive: true });
    await mkdir(this.#locks, { recursive: true });
    await writeFile(join(this.cacheDir, 'CACHEDIR.TAG'), CACHEDIR_TAG, { flag: 'wx' }).catch(() => {});
  }

  /** Whether a file of a commit is there, as long as it should be. */
  async has(commit: string, file: RemoteFile): Promise<boolean> {
    return (await sizeOf(this.pointer(commit, file.name))) === file.size;
  }

  /** Whether the contents of a file are there. What has another length is damaged, and goes. */
  async hasBlob(file: RemoteFile): Promise<boolean> {
    const size = await sizeOf(this.blob(file));
    if (size !== null && size !== file.size) await rm(this.blob(file), { force: true });
    return size === file.size;
  }

  /**
   * Gives a blob its name in a commit. Without symbolic links a `fresh` blob is moved there, as Python does: nothing
   * else can refer to it yet, and the disk need not hold it twice.
   */
  async link(commit: string, file: RemoteFile, fresh: boolean): Promise<void> {
    const pointer = this.pointer(commit, file.name);
    const blob = this.blob(file);
    await mkdir(dirname(pointer), { recursive: true });
    const temporary = `${pointer}.${randomBytes(4).toString('hex')}.tmp`;
    try {
      if (!this.#symlinks || !(await linked(relative(dirname(pointer), blob), temporary))) {
        if (fresh) return await rename(blob, pointer);
        await copyFile(blob, temporary, constants.COPYFILE_FICLONE);
      }
      await rename(temporary, pointer); // over a damaged one, or the same one of another process
    } finally {
      await unlink(temporary).catch(() => {});
    }
  }

  /** Notes that a revision is at a commit: the last thing that is written. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    const path = join(this.#folder, 'refs', ...revision.split('/'));
    const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, commit); // without a line break: Python takes the whole text for the commit
    await rename(temporary, path);
  }
}

/** The digest that a file's name in the cache is: of its bytes, or of git's object around them. */
export function hasher({ hash, size }: RemoteFile): {
  update(data: Uint8Array): unknown;
  digest(encoding: 'hex'): string;
} {
  return hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** Puts a whole file in its place so that it stays there if the machine goes down. */
export async function publish(partial: string, path: string): Promise<void> {
  try {
    await rename(partial, path);
  } catch (cause) {
    // Another process that wrote the very same bytes was faster.
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || (await sizeOf(path)) === null) throw cause;
  }
  const folder = await open(dirname(path)).catch(() => null); // Windows opens no folders
  await folder?.sync().catch(() => {});
  await folder?.close();
}

/** The length of a regular file, links followed; null where there is none. */
async function sizeOf(path: string): Promise<number | null> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() === true ? found.size : null;
}

/** Whether a symbolic link could be made: some file systems have none, and Windows wants a right for it. */
async function linked(target: string, path: string): Promise<boolean> {
  try {
    await symlink(target, path, 'file');
    return true;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'ENOSYS') return false;
    throw cause;
  }
}
