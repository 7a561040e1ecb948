/**
 * The cache that Python's huggingface_hub keeps, with one folder for each repository:
 *
 *     models--owner--name/
 *       blobs/HASH                     the contents: sha256 for LFS files, git's own hash for all others
 *       snapshots/COMMIT/vae/config.json -> ../../../blobs/HASH
 *       refs/main                      the commit of a branch or tag
 *     .locks/models--owner--name/HASH.lock
 *
 * A file under its final name is complete: it was written under another name and renamed.
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

/** What https://bford.info/cachedir/ asks for, so that backups skip the folder; in the words that Python writes. */
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

  /** Where a blob is until it is complete. It is the name that huggingface_hub used as long as it resumed downloads. */
  partial({ hash }: RemoteFile): string {
    return join(this.#folder, 'blobs', `${hash}.incomplete`);
  }

  /** How much of a blob an earlier or another download has written. */
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
    if (!isSafeFileName(name)) throw integrityError(JSON.stringify(name), 'is not a valid file name on this system');
    return join(this.snapshot(commit), ...name.split('/'));
  }

  /** The commit that a revision last had, or null. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const text = await readFile(join(this.#folder, 'refs', ...revision.split('/')), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : null;
  }

  /** Creates the folders of the repository. */
  async create(): Promise<void> {
    await mkdir(join(this.#folder, 'blobs'), { recursive: true });
    await mkdir(this.#locks, { recursive: true });
    await writeFile(join(this.cacheDir, 'CACHEDIR.TAG'), CACHEDIR_TAG, { flag: 'wx' }).catch(() => {});
  }

  /** Whether a file of a commit exists and has the right length. */
  async has(commit: string, file: RemoteFile): Promise<boolean> {
    return (await sizeOf(this.pointer(commit, file.name))) === file.size;
  }

  /** Whether the contents of a file exist. Contents of another length are damaged, and are deleted. */
  async hasBlob(file: RemoteFile): Promise<boolean> {
    const size = await sizeOf(this.blob(file));
    if (size !== null && size !== file.size) await rm(this.blob(file), { force: true });
    return size === file.size;
  }

  /**
   * Gives a blob its name in a commit. Without symbolic links a `fresh` blob is moved there, as Python does: nothing
   * else can refer to it yet, and it does not have to be stored twice.
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
      await rename(temporary, pointer); // replaces a damaged one, or the same one from another process
    } finally {
      await unlink(temporary).catch(() => {});
    }
  }

  /** Records the commit of a revision: the last thing that is written. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if (isCommit(revision) || (await this.commitOf(revision)) === commit) return;
    const path = join(this.#folder, 'refs', ...revision.split('/'));
    const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, commit); // without a line break: Python reads the whole text as the commit
    await rename(temporary, path);
  }
}

/** The digest that is a file's name in the cache: of its bytes, or of git's object around them. */
export function hasher({ hash, size }: RemoteFile): {
  update(data: Uint8Array): unknown;
  digest(encoding: 'hex'): string;
} {
  return hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** Moves a complete file into place, so that it survives a crash of the machine. */
export async function publish(partial: string, path: string): Promise<void> {
  try {
    await rename(partial, path);
  } catch (cause) {
    // Another process that wrote the same bytes was faster.
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || (await sizeOf(path)) === null) throw cause;
  }
  const folder = await open(dirname(path)).catch(() => null); // Windows cannot open folders
  await folder?.sync().catch(() => {});
  await folder?.close();
}

/** The length of a regular file, following links; null if it does not exist. */
async function sizeOf(path: string): Promise<number | null> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() === true ? found.size : null;
}

/** Whether a symbolic link could be created: some file systems have none, and Windows requires a privilege. */
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
