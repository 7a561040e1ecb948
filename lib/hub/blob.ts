/**
 * Downloads one file from the hub into the cache: into `HASH.incomplete`, from where an earlier attempt of any process
 * stopped, hashed as it arrives, and renamed once its length and hash are those that the hub announced.
 *
 * Every write has an explicit position. So if two processes write the same partial file in spite of the locks, because
 * the file system ignores them, they write the same bytes at the same places and do not spoil each other's work.
 */

import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { hasher, publish, type RepositoryCache } from './cache.ts';
import type { Answer, HubClient } from './client.ts';
import { cacheError, downloadError, integrityError, Transient } from './failures.ts';
import { gated, type RemoteFile, statusError } from './listing.ts';
import { quoted } from './repository.ts';
import { type Patience, retrying } from './retry.ts';

export interface BlobRequest {
  readonly client: HubClient;
  readonly cache: RepositoryCache;
  readonly repository: string;
  readonly commit: string;
  readonly file: RemoteFile;
  readonly patience: Patience;
  readonly signal: AbortSignal;
  /** `bytes` of the file are on disk, `received` of them since the last call. */
  readonly report: (bytes: number, received: number) => void;
}

const WRITE_BYTES = 1 << 20;

/** Downloads a file that is not in the cache; the caller holds its lock. */
export async function fetchBlob(request: BlobRequest): Promise<void> {
  const { cache, file } = request;
  const path = cache.partial(file);
  const { O_RDWR, O_CREAT, O_NOFOLLOW = 0 } = constants;
  const disk = await onDisk(path, () => open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o666));
  try {
    await new BlobDownload(request, disk, path).run();
    await onDisk(path, async () => {
      await disk.truncate(file.size); // an earlier file may have been longer
      await disk.sync();
    });
  } finally {
    await disk.close();
  }
  await onDisk(path, () => publish(path, cache.blob(file)));
}

class BlobDownload {
  readonly #request: BlobRequest;
  readonly #disk: FileHandle;
  readonly #path: string;
  #hash: ReturnType<typeof hasher>;
  #bytes = 0; // hashed and written
  #resumed = false; // some of them arrived in an earlier call
  #validator: string | undefined; // the ETag of the response that they arrived in

  constructor(request: BlobRequest, disk: FileHandle, path: string) {
    this.#request = request;
    this.#disk = disk;
    this.#path = path;
    this.#hash = hasher(request.file);
  }

  async run(): Promise<void> {
    const { file, repository, patience, signal } = this.#request;
    await this.#readPartial();
    for (;;) {
      await retrying(`${repository}: ${file.name}`, () => this.#receive(), {
        patience,
        signal,
        progress: () => this.#bytes,
      });
      const digest = this.#hash.digest('hex');
      if (digest === file.hash) return;
      if (!this.#resumed) {
        await rm(this.#path, { force: true });
        throw integrityError(file.name, `has the hash ${digest}, but the hub says ${file.hash}; it was deleted`);
      }
      this.#restart(); // what an earlier call left was of another file
    }
  }

  /** Hashes what an earlier call left. */
  async #readPartial(): Promise<void> {
    const { file, signal, report } = this.#request;
    const { size } = await this.#onDisk(() => this.#disk.stat());
    if (size > file.size) return; // it is of another file
    const buffer = new Uint8Array(WRITE_BYTES);
    while (this.#bytes < size) {
      signal.throwIfAborted();
      const { bytesRead } = await this.#onDisk(() => this.#disk.read(buffer, 0, buffer.byteLength, this.#bytes));
      if (bytesRead === 0) break;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#bytes += bytesRead;
    }
    this.#resumed = this.#bytes > 0;
    report(this.#bytes, 0);
  }

  /** Discards what is on disk. */
  #restart(): void {
    this.#hash = hasher(this.#request.file);
    this.#bytes = 0;
    this.#resumed = false;
    this.#validator = undefined;
    this.#request.report(0, 0);
  }

  /** Requests what is missing, and writes what arrives. */
  async #receive(): Promise<void> {
    const { client, repository, commit, file, signal } = this.#request;
    if (this.#bytes === file.size) return;
    const url = client.url(...repository.split('/'), 'resolve', commit, ...file.name.split('/'));
    const asked = this.#bytes;
    const answer = await client.get(url, {
      signal,
      headers:
        asked === 0
          ? {}
          : { range: `bytes=${asked}-`, ...(this.#validator !== undefined && { 'if-range': this.#validator }) },
    });
    try {
      this.#checkHead(answer, url, asked);
      await this.#take(answer);
    } finally {
      answer.body.destroy();
    }
    if (this.#bytes < file.size)
      throw new Transient(`${answer.url.host} stopped after ${this.#bytes} of ${file.size} bytes`);
  }

  /** Throws unless the answer is the bytes from `asked` on, or the file from its beginning. */
  #checkHead(answer: Answer, url: URL, asked: number): void {
    const { client, repository, file } = this.#request;
    const { status, headers } = answer;
    const what = `${repository}: ${file.name}`;
    if (status === 416 && asked > 0) {
      this.#restart();
      throw new Transient(`${answer.url.host} has no bytes from ${asked} on`, { status });
    }
    if (status === 401 || status === 403) {
      // This happens with redirect targets: addresses that were signed for a few minutes. The next one is valid again.
      if (answer.url.href !== url.href)
        throw new Transient(`${answer.url.host} answered with status ${status}`, { status });
      throw gated(repository, client.url(...repository.split('/')).href, client.hasToken);
    }
    if (status === 404)
      throw downloadError(`${what}: the hub no longer has it`, 'Try again: the repository may have changed.');
    if (status !== 200 && status !== 206) throw statusError(what, answer);

    const encoding = headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') {
      throw integrityError(file.name, `arrived with the encoding ${quoted(String(encoding))}, which was not requested`);
    }
    if (status === 200) {
      if (asked > 0) this.#restart(); // the server does not support ranges, or has another file now
    } else {
      const range = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(String(headers['content-range']));
      const whole = range?.[2] === '*' || Number(range?.[2]) === file.size;
      if (asked === 0 || range === null || Number(range[1]) !== asked || !whole) {
        throw integrityError(
          file.name,
          `requested bytes from ${asked} of ${file.size}, got ${quoted(String(headers['content-range']))}`,
        );
      }
    }
    const length = headers['content-length'];
    if (length !== undefined && Number(length) !== file.size - this.#bytes) {
      throw integrityError(
        file.name,
        `has ${quoted(String(length))} bytes left, but the hub says ${file.size - this.#bytes}`,
      );
    }
    const { etag } = headers;
    this.#validator = typeof etag === 'string' && /^"[\x21\x23-\x7e]{1,200}"$/.test(etag) ? etag : undefined; // not a weak one
  }

  async #take(answer: Answer): Promise<void> {
    const { file, signal, report } = this.#request;
    let batch: Uint8Array[] = [];
    let batched = 0;
    const flush = async () => {
      if (batched === 0) return;
      const bytes = Buffer.concat(batch);
      await this.#onDisk(() => writeAll(this.#disk, bytes, this.#bytes));
      this.#hash.update(bytes);
      this.#bytes += bytes.byteLength;
      [batch, batched] = [[], 0];
      if (!signal.aborted) report(this.#bytes, bytes.byteLength);
    };
    try {
      for await (const chunk of chunksOf(answer, signal)) {
        if (this.#bytes + batched + chunk.byteLength > file.size) {
          throw integrityError(file.name, `${answer.url.host} sends more than its ${file.size} bytes`);
        }
        batch.push(chunk);
        batched += chunk.byteLength;
        if (batched >= WRITE_BYTES) await flush();
      }
    } finally {
      await flush(); // keeps what has arrived
    }
  }

  async #onDisk<T>(work: () => Promise<T>): Promise<T> {
    return await onDisk(this.#path, work);
  }
}

/** The chunks of a body. Errors thrown in here are the connection's, whatever the reader of the chunks does. */
async function* chunksOf({ body, url }: Answer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* body as AsyncIterable<Uint8Array>;
  } catch (cause) {
    signal.throwIfAborted();
    throw new Transient(`${url.host} was cut off`, { cause });
  }
}

/** Runs work on a file of the cache; errors name that file. */
async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw cacheError(path, cause);
  }
}

/** Writes all of `bytes` from `position` on; a single call may write less. */
async function writeAll(disk: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.byteLength; ) {
    const { bytesWritten } = await disk.write(bytes, written, bytes.byteLength - written, position + written);
    written += bytesWritten;
  }
}
