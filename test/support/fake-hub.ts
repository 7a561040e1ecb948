/**
 * A hub on this machine, with the addresses and headers that huggingface_hub and this package know: repositories in
 * memory, large files behind a redirect as LFS has them, and any fault a test wants.
 */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, relative } from 'node:path';

export interface HubFile {
  readonly name: string;
  readonly data: Buffer;
  readonly lfs: boolean;
  readonly hash: string; // its name in the cache
}

export interface Received {
  readonly path: string;
  readonly method: string;
  readonly range: string | undefined;
  readonly ifRange: string | undefined;
  readonly token: string | undefined;
  readonly encoding: string | undefined;
}

/** May answer a request itself; then it returns true. `file` is the requested file, if it is one. */
export type Fault = (
  request: IncomingMessage,
  response: ServerResponse,
  file: HubFile | undefined,
) => boolean | Promise<boolean>;

export const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');
export const gitHash = (data: Uint8Array): string =>
  createHash('sha1').update(`blob ${data.byteLength}\0`).update(data).digest('hex');

export class FakeHub {
  readonly #server: Server;
  readonly requests: Received[] = [];
  readonly repositories = new Map<string, { commit: string; files: Map<string, HubFile> }>();
  fault: Fault | undefined;
  /** Where LFS files lie: this server, unless a test has another one. */
  storage: string | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeHub> {
    const server = createServer((request, response) => {
      hub.#answer(request, response).catch((error) => response.destroy(error));
    });
    const hub = new FakeHub(server);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return hub;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The environment of a process that uses this hub, with its own cache. */
  env(home: string): Record<string, string> {
    return { HF_ENDPOINT: this.url, HF_HOME: home };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  /** The files requested since the last call, each as often as it was requested. */
  downloads(): string[] {
    const paths = this.requests.filter(({ method }) => method === 'GET').map(({ path }) => path);
    this.requests.length = 0;
    return paths.filter((path) => path.includes('/resolve/')).map((path) => path.replace(/.*\/resolve\/[^/]+\//, ''));
  }

  /** Adds a repository, or a commit to one. Files of 4 kB and more are LFS's. */
  add(
    repository: string,
    contents: Readonly<Record<string, Uint8Array | string>>,
  ): { commit: string; files: Map<string, HubFile> } {
    const files = new Map<string, HubFile>();
    for (const [name, content] of Object.entries(contents)) {
      const data = Buffer.from(content);
      const lfs = data.byteLength >= 4096;
      files.set(name, { name, data, lfs, hash: lfs ? sha256(data) : gitHash(data) });
    }
    const commit = createHash('sha1')
      .update(JSON.stringify([...files.values()].map(({ name, hash }) => [name, hash])))
      .digest('hex');
    const added = { commit, files };
    this.repositories.set(repository, added);
    return added;
  }

  addFolder(repository: string, folder: string): { commit: string; files: Map<string, HubFile> } {
    const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const paths = names.map((entry) => join(entry.parentPath, entry.name));
    return this.add(repository, Object.fromEntries(paths.map((path) => [relative(folder, path), readFileSync(path)])));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path } = new URL(request.url ?? '', this.url);
    const { range, authorization, 'if-range': ifRange, 'accept-encoding': encoding } = request.headers;
    this.requests.push({
      path: decodeURIComponent(path),
      method: request.method ?? '',
      range,
      ifRange: typeof ifRange === 'string' ? ifRange : undefined,
      token: authorization,
      encoding: typeof encoding === 'string' ? encoding : undefined,
    });
    const file = this.#fileAt(path);
    if (this.fault !== undefined && (await this.fault(request, response, file))) return;
    if (path.startsWith('/api/models/')) return await this.#api(path, response);
    if (file === undefined) return refuse(response, 404, path.includes('/resolve/') ? 'EntryNotFound' : 'RepoNotFound');
    const head = {
      'x-repo-commit': this.#repositoryAt(path)?.commit ?? '',
      'x-linked-etag': `"${file.hash}"`,
      'x-linked-size': String(file.data.byteLength),
    };
    if (file.lfs && path.includes('/resolve/')) {
      response
        .writeHead(302, { ...head, location: `${this.storage ?? ''}/storage/${file.hash}?signature=secret` })
        .end();
      return;
    }
    send(request, response, file, head);
  }

  #repositoryAt(path: string): { commit: string; files: Map<string, HubFile> } | undefined {
    const [owner, name] = path.replace(/^\/(api\/models\/)?/, '').split('/');
    return this.repositories.get(`${owner}/${name}`);
  }

  #fileAt(path: string): HubFile | undefined {
    const [, name] = /^\/[^/]+\/[^/]+\/resolve\/[^/]+\/(.+)$/.exec(decodeURIComponent(path)) ?? [];
    if (name !== undefined) return this.#repositoryAt(path)?.files.get(name);
    const [, hash] = /^\/storage\/(\w+)$/.exec(path) ?? [];
    const all = [...this.repositories.values()].flatMap(({ files }) => [...files.values()]);
    return all.find((file) => file.hash === hash);
  }

  /** The hub's answers about a repository: `/revision/R`, `/tree/R`, `/refs`. */
  async #api(path: string, response: ServerResponse): Promise<void> {
    const repository = this.#repositoryAt(path);
    const [, , , owner, name, what, revision] = path.split('/');
    if (repository === undefined) return refuse(response, 401, 'RepoNotFound');
    if (what === 'refs') return json(response, { branches: [{ name: 'main' }], tags: [{ name: 'v1.0' }] });
    const { commit, files } = repository;
    if (!['main', 'v1.0', commit].includes(revision ?? 'main')) return refuse(response, 404, 'RevisionNotFound');
    if (what === 'tree') {
      const entries = [...files.values()].map(({ name: path, data, lfs, hash }) => ({
        type: 'file',
        path,
        size: data.byteLength,
        oid: gitHash(data),
        ...(lfs && { lfs: { oid: hash, size: data.byteLength, pointerSize: 130 } }),
      }));
      return json(response, entries);
    }
    const siblings = [...files.values()].map(({ name: rfilename, data, lfs, hash }) => ({
      rfilename,
      size: data.byteLength,
      blobId: gitHash(data),
      ...(lfs && { lfs: { sha256: hash, size: data.byteLength, pointerSize: 130 } }),
    }));
    return json(response, { id: `${owner}/${name}`, sha: commit, private: false, tags: [], siblings });
  }
}

/** A whole file, or the requested range of it. */
export function send(
  request: IncomingMessage,
  response: ServerResponse,
  { data, hash }: HubFile,
  head: Record<string, string> = {},
): void {
  const etag = `"${hash}"`;
  const [, start] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
  const ifRange = request.headers['if-range'];
  const from = start === undefined || (ifRange !== undefined && ifRange !== etag) ? undefined : Number(start);
  if (from !== undefined && from >= data.byteLength) {
    response.writeHead(416, { 'content-range': `bytes */${data.byteLength}` }).end();
    return;
  }
  const body = data.subarray(from ?? 0);
  response.writeHead(from === undefined ? 200 : 206, {
    ...head,
    etag,
    'accept-ranges': 'bytes',
    'content-length': String(body.byteLength),
    ...(from !== undefined && { 'content-range': `bytes ${from}-${data.byteLength - 1}/${data.byteLength}` }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export function refuse(
  response: ServerResponse,
  status: number,
  code?: string,
  head: Record<string, string> = {},
): void {
  response.writeHead(status, { ...head, ...(code !== undefined && { 'x-error-code': code }) }).end();
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
