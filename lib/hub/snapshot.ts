/**
 * The files of a repository at a revision, in the cache: those that exist and those that are downloaded now. The caller
 * decides which files are needed, from what the repository contains.
 */

import { statfs } from 'node:fs/promises';
import type { SanaError } from '../base/errors.ts';
import { fetchBlob } from './blob.ts';
import { RepositoryCache } from './cache.ts';
import { HubClient } from './client.ts';
import { cacheError, diskFull, downloadError, Transient } from './failures.ts';
import { fetchListing, type Listing, type RemoteFile, type Suggestions } from './listing.ts';
import { withLock } from './lock.ts';
import { withPythonLock } from './python-lock.ts';
import { checkRevision, isCommit } from './repository.ts';
import { PATIENCE, type Patience } from './retry.ts';
import { type HubOptions, type HubSettings, hubSettings } from './settings.ts';
import { Transfer, type TransferProgress } from './transfer.ts';

export interface SnapshotOptions extends HubOptions {
  /** A branch, tag or commit. Default: 'main'. */
  readonly revision?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
  /**
   * Ask the hub even for a pinned revision that is complete, and do not fall back to older files if it does not answer.
   * Default: false.
   */
  readonly refresh?: boolean | undefined;
  /** The names of the files that are needed, from those that exist. */
  readonly choose: (remote: RemoteSnapshot) => Promise<readonly string[]>;
  /**
   * Whether a folder with some of the files is good enough: 'exact' if the hub cannot have anything better at that
   * commit, 'usable' if it might, such as another variant; otherwise what is wrong with it.
   */
  readonly look: (folder: string) => Promise<'exact' | 'usable' | SanaError>;
  readonly suggestions?: Suggestions | undefined;
  readonly patience?: Patience | undefined;
}

/** A repository whose files are downloaded one by one as they turn out to be needed. */
export interface RemoteSnapshot {
  readonly repository: string;
  readonly names: ReadonlySet<string>;
  /** Where the files will be. */
  readonly folder: string;
  /** Downloads a file into `folder`. */
  fetch(name: string): Promise<void>;
}

export interface Snapshot {
  readonly repository: string;
  readonly commit: string;
  readonly folder: string;
  readonly files: readonly RemoteFile[]; // that were requested; empty if the hub was not asked
  readonly receivedBytes: number; // over the network
}

/** Files that are downloaded at a time: enough for a fast connection, and no burden on the hub. */
const PARALLEL = 4;
/** Below this size, downloading twice costs less than starting a process that holds Python's lock. */
const PYTHON_LOCK_BYTES = 8 << 20;
const SPARE_DISK_BYTES = 1 << 20; // for folders, links and other overhead of the file system

/**
 * The snapshot of a repository, complete. The hub is not asked if that is not allowed, or if the revision is a commit
 * whose files are all in the cache. If the hub cannot be reached, the files in the cache are used.
 *
 * @throws SanaError ERR_SANA_DOWNLOAD, ERR_SANA_INTEGRITY, ERR_SANA_FILE for the cache; `signal.reason` when aborted.
 */
export async function openSnapshot(repository: string, options: SnapshotOptions): Promise<Snapshot> {
  const revision = checkRevision(options.revision ?? 'main');
  const settings = await hubSettings(options);
  const cache = new RepositoryCache(settings.cacheDir, repository, settings.symlinks);
  options.signal?.throwIfAborted();

  const commit = await cache.commitOf(revision);
  const folder = commit === null ? null : cache.snapshot(commit);
  const state = folder === null ? undefined : await options.look(folder);
  const there =
    commit !== null && folder !== null && typeof state === 'string'
      ? { repository, commit, folder, files: [], receivedBytes: 0 }
      : undefined;
  if (settings.offline) {
    if (there !== undefined) return there;
    throw notThere(repository, revision, settings, typeof state === 'string' ? undefined : state);
  }
  if (there !== undefined && state === 'exact' && isCommit(revision) && options.refresh !== true) return there;
  const client = await HubClient.open(settings);
  try {
    const download = new Download(repository, revision, client, cache, options);
    return await download.run(options.refresh === true ? undefined : there);
  } finally {
    await client.close();
  }
}

function notThere(repository: string, revision: string, settings: HubSettings, missing?: SanaError): SanaError {
  const what = missing === undefined ? 'nothing of it is there' : missing.message;
  return downloadError(
    `${repository} at ${revision} is not in the cache ${settings.cacheDir}, and the hub may not be asked: ${what}`,
    `Run \`sana-native pull ${repository}\` once with a network connection, without localFilesOnly and HF_HUB_OFFLINE.`,
    missing,
  );
}

/** The hub could not list the files; the cause is what the caller is told. */
class Unreachable extends Error {}

class Download {
  readonly #repository: string;
  readonly #revision: string;
  readonly #cache: RepositoryCache;
  readonly #options: SnapshotOptions;
  readonly #client: HubClient;
  readonly #patience: Patience;
  readonly #transfer: Transfer;
  /** The first file that fails stops the others. */
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  #receivedBytes = 0;
  #created: Promise<void> | undefined;

  constructor(
    repository: string,
    revision: string,
    client: HubClient,
    cache: RepositoryCache,
    options: SnapshotOptions,
  ) {
    const { signal, onProgress, patience = PATIENCE } = options;
    this.#repository = repository;
    this.#revision = revision;
    this.#cache = cache;
    this.#options = options;
    this.#client = client;
    this.#patience = patience;
    this.#transfer = new Transfer(onProgress);
    this.#signal = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
  }

  /** `there`: what to return if the hub cannot be reached, which is then tried only once. */
  async run(there: Snapshot | undefined): Promise<Snapshot> {
    try {
      return await this.#fetchAll(await this.#list(there === undefined ? this.#patience.attempts : 1));
    } catch (error) {
      if (there !== undefined && error instanceof Unreachable) return there;
      throw error instanceof Unreachable ? error.cause : error;
    }
  }

  async #list(attempts: number): Promise<Listing> {
    const { suggestions } = this.#options;
    const [repository, revision, signal] = [this.#repository, this.#revision, this.#signal];
    const patience = { ...this.#patience, attempts };
    try {
      return await fetchListing(this.#client, { repository, revision, patience, signal, suggestions });
    } catch (error) {
      throw error instanceof Error && error.cause instanceof Transient ? new Unreachable('', { cause: error }) : error;
    }
  }

  async #fetchAll(listing: Listing): Promise<Snapshot> {
    const { commit, files } = listing;
    const folder = this.#cache.snapshot(commit);
    const names = await this.#options.choose({
      repository: this.#repository,
      names: new Set(files.keys()),
      folder,
      fetch: (name) => this.#fetch(commit, find(files, name, this.#repository)),
    });
    const needed = [...new Set(names)].map((name) => find(files, name, this.#repository));
    const absent: RemoteFile[] = [];
    for (const file of needed) if (!(await this.#cache.has(commit, file))) absent.push(file);
    if (absent.length > 0) {
      this.#transfer.expect(needed.reduce((sum, { size }) => sum + size, 0));
      for (const file of needed) if (!absent.includes(file)) this.#transfer.set(file.name, file.size);
      await this.#demandSpace(absent);
      await this.#fetchParallel(commit, absent);
      this.#transfer.report();
    }
    await this.#cache.writeRef(this.#revision, commit).catch((cause) => {
      // A cache that cannot be written is still good if all files are in it.
      if (absent.length > 0) throw cacheError(this.#cache.cacheDir, cause);
    });
    return { repository: this.#repository, commit, folder, files: needed, receivedBytes: this.#receivedBytes };
  }

  async #fetchParallel(commit: string, files: readonly RemoteFile[]): Promise<void> {
    // Large files first, so that the last one to finish is a small one.
    const queue = [...files].sort((a, b) => b.size - a.size).values();
    const worker = async () => {
      for (const file of queue) await this.#fetch(commit, file);
    };
    const workers = Array.from({ length: PARALLEL }, worker);
    for (const work of workers) work.catch((error) => this.#stop.abort(error));
    await Promise.allSettled(workers); // afterwards no file is open and no lock is held
    this.#signal.throwIfAborted(); // with the first error, or the caller's reason
  }

  /** Puts one file into place. */
  async #fetch(commit: string, file: RemoteFile): Promise<void> {
    if (await this.#cache.has(commit, file)) return;
    const path = this.#cache.blob(file);
    try {
      this.#created ??= this.#cache.create();
      await this.#created;
      const linkOnly = await this.#cache.hasBlob(file);
      if (!linkOnly) return await this.#locked(file, () => this.#fetchAbsent(commit, file));
      await this.#cache.link(commit, file, false);
      this.#transfer.set(file.name, file.size);
    } catch (cause) {
      throw isOfSystem(cause) ? cacheError(path, cause) : cause;
    }
  }

  /** Downloads a file under its lock, unless another process did so while this one waited. */
  async #fetchAbsent(commit: string, file: RemoteFile): Promise<void> {
    if (await this.#cache.has(commit, file)) return this.#transfer.set(file.name, file.size);
    const fresh = !(await this.#cache.hasBlob(file));
    if (fresh) {
      await fetchBlob({
        client: this.#client,
        cache: this.#cache,
        repository: this.#repository,
        commit,
        file,
        patience: this.#patience,
        signal: this.#signal,
        report: (bytes, received) => {
          this.#receivedBytes += received;
          this.#transfer.set(file.name, bytes, received);
        },
      });
    }
    await this.#cache.link(commit, file, fresh);
    this.#transfer.set(file.name, file.size);
  }

  async #locked(file: RemoteFile, work: () => Promise<void>): Promise<void> {
    const lock = this.#cache.lock(file);
    const waiting = async () => this.#transfer.set(file.name, Math.min(file.size, await this.#cache.partialSize(file)));
    await withLock(lock.replace(/\.lock$/, '.sana-native.lock'), this.#signal, waiting, async () => {
      if (file.size < PYTHON_LOCK_BYTES) return await work();
      await withPythonLock(lock, this.#signal, work);
    });
  }

  /** Finds out at the start, and not after an hour, that the files do not fit. */
  async #demandSpace(files: readonly RemoteFile[]): Promise<void> {
    let needed = SPARE_DISK_BYTES;
    for (const file of files) {
      if (!(await this.#cache.hasBlob(file))) needed += Math.max(0, file.size - (await this.#cache.partialSize(file)));
    }
    this.#created ??= this.#cache.create();
    const { cacheDir } = this.#cache;
    const found = await this.#created
      .then(() => statfs(cacheDir))
      .catch((cause) => {
        throw cacheError(cacheDir, cause);
      });
    const free = found.bavail * found.bsize;
    if (free >= needed || found.blocks === 0) return; // some network disks do not report it
    const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
    throw diskFull(cacheDir, `there are ${gigabytes(needed)} to download and ${gigabytes(free)} free`);
  }
}

function find(files: Listing['files'], name: string, repository: string): RemoteFile {
  const file = files.get(name);
  if (file !== undefined) return file;
  throw downloadError(`${repository} has no file ${name}`, 'The repository is incomplete: ask its owner.');
}

/** Whether an error is that of a failed system call. */
function isOfSystem(cause: unknown): boolean {
  return cause instanceof Error && typeof (cause as NodeJS.ErrnoException).syscall === 'string';
}
