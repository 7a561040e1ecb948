/**
 * What a repository contains at a revision: one request, which returns the commit and the length and hash of every
 * file.
 */

import type { Answer, HubClient } from './client.ts';
import { downloadError, integrityError, retryAfterMs, said, Transient } from './failures.ts';
import { isCommit, quoted } from './repository.ts';
import { type Patience, retrying } from './retry.ts';

export interface RemoteFile {
  readonly name: string; // 'vae/config.json'
  readonly size: number;
  readonly hash: string; // sha256 for LFS files, git's sha1 for all others: its name in the cache
}

export interface Listing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, RemoteFile>; // by name
}

/** For hints: the names that exist, and the one closest to a name that does not. */
export interface Suggestions {
  readonly repositories: readonly string[];
  nearest(typed: string, names: readonly string[]): string | undefined;
}

export interface ListingRequest {
  readonly repository: string;
  readonly revision: string;
  readonly patience: Patience;
  readonly signal: AbortSignal;
  readonly suggestions?: Suggestions | undefined;
}

const MAX_BYTES = 32 * 1024 * 1024; // a repository of 100 000 files
const SHA256 = /^[0-9a-f]{64}$/;
const MAX_FILE_BYTES = 2 ** 45;

export async function fetchListing(client: HubClient, request: ListingRequest): Promise<Listing> {
  const { repository, revision, patience, signal } = request;
  const url = client.url('api', 'models', ...repository.split('/'), 'revision', revision);
  url.searchParams.set('blobs', 'true');
  return await retrying(
    `The hub cannot list ${repository}`,
    async () => {
      const answer = await client.get(url, { signal });
      if (answer.status === 200) return parseListing(await readJson(answer, signal), repository);
      answer.body.destroy();
      throw await refusalOf(client, answer, request);
    },
    { patience, signal },
  );
}

/** The error for a response that is not one of the requested files. `what` starts the message. */
export function statusError(what: string, { status, headers, url }: Answer): Error {
  if (status === 408 || status === 429 || status >= 500) {
    const after = retryAfterMs(headers['retry-after']);
    return new Transient(`${url.host} answered with status ${status}${said(headers)}`, {
      status,
      ...(after !== undefined && { retryAfterMs: after }),
    });
  }
  return downloadError(
    `${what}: ${url.host} answered with status ${status}${said(headers)}`,
    'Check HF_ENDPOINT and HTTPS_PROXY: the server there is not a hub, or the hub is not working.',
  );
}

async function refusalOf(client: HubClient, answer: Answer, request: ListingRequest): Promise<Error> {
  const { repository, revision, suggestions } = request;
  const { status, headers } = answer;
  const code = headers['x-error-code'];
  const page = client.url(...repository.split('/')).href;
  if (code === 'GatedRepo' || (status === 403 && code === undefined)) return gated(repository, page, client.hasToken);
  if (code === 'RevisionNotFound') {
    const names = await revisions(client, request);
    const meant = suggestions?.nearest(revision, names);
    const choice = names.length === 0 ? "Leave it out for 'main'." : `There are ${names.slice(0, 10).join(', ')}.`;
    return downloadError(
      `${repository} has no revision ${quoted(revision)}`,
      meant === undefined ? choice : `Did you mean ${meant}? ${choice}`,
    );
  }
  // The hub does not reveal which private repositories exist: it answers 401 without a token, 404 with one.
  if (code === 'RepoNotFound' || status === 401 || status === 404) {
    const meant = suggestions?.nearest(repository, suggestions.repositories);
    const hint = [
      ...(meant === undefined ? [] : [`Did you mean ${meant}?`]),
      client.hasToken
        ? 'Check the name. If the repository is private, the token must belong to an account that may read it.'
        : 'Check the name. If the repository is private, pass a token: HF_TOKEN, the option token, or `hf auth login`.',
    ].join(' ');
    const token = said(headers).includes('Invalid credentials') ? ', or the token is invalid' : '';
    return downloadError(`There is no repository ${repository} on ${answer.url.host}, or it is private${token}`, hint);
  }
  return statusError(`The hub cannot list ${repository}`, answer);
}

/** The error for a repository whose files are given only to accounts that requested access. */
export function gated(repository: string, page: string, hasToken: boolean): Error {
  return downloadError(
    `${repository} is gated: only accounts that have accepted its licence can download it`,
    hasToken
      ? `Accept the licence at ${page} with the account that the token belongs to.`
      : `Accept the licence at ${page}, and pass a token of that account: HF_TOKEN, the option token, or \`hf auth login\`.`,
  );
}

/** The names of the branches and tags, or none if they cannot be listed. */
async function revisions(client: HubClient, { repository, signal }: ListingRequest): Promise<string[]> {
  try {
    const answer = await client.get(client.url('api', 'models', ...repository.split('/'), 'refs'), { signal });
    const refs = await readJson(answer, signal);
    const lists = isObject(refs) ? [refs.branches, refs.tags] : [];
    return lists
      .flatMap((list) => (Array.isArray(list) ? list : []))
      .flatMap((ref: unknown) =>
        isObject(ref) && typeof ref.name === 'string' && /^[\w./-]{1,100}$/.test(ref.name) ? [ref.name] : [],
      );
  } catch {
    signal.throwIfAborted();
    return [];
  }
}

async function readJson({ body, headers, url }: Answer, signal: AbortSignal): Promise<unknown> {
  const encoding = headers['content-encoding'] ?? 'identity';
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    if (encoding !== 'identity')
      throw integrityError(url.host, `answered with the encoding ${quoted(String(encoding))}, which was not requested`);
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      bytes += chunk.byteLength;
      if (bytes > MAX_BYTES)
        throw integrityError(url.host, `answered with more than ${MAX_BYTES} bytes about a repository`);
      chunks.push(chunk);
    }
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof Error && 'hint' in cause) throw cause;
    throw new Transient(`the answer of ${url.host} was cut off`, { cause });
  } finally {
    body.destroy();
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (cause) {
    throw downloadError(`${url.host} answered with something that is not JSON`, NO_HUB, cause);
  }
}

const NO_HUB = 'Check HF_ENDPOINT and HTTPS_PROXY: the server there is not a hub.';

/** From the response, the commit and the files that are fully described: nothing in it is trusted. */
export function parseListing(json: unknown, repository: string): Listing {
  const fail = (reason: string) => downloadError(`The hub's answer about ${repository} ${reason}`, NO_HUB);
  if (!isObject(json) || !Array.isArray(json.siblings)) throw fail('is not the description of a repository');
  const { sha } = json;
  if (typeof sha !== 'string' || !isCommit(sha)) throw fail('names no commit');
  const files = new Map<string, RemoteFile>();
  for (const sibling of json.siblings as readonly unknown[]) {
    const file = parseFile(sibling);
    if (file !== null) files.set(file.name, file);
  }
  if (files.size === 0) throw fail('names no files with their lengths and hashes');
  return { commit: sha, files };
}

/** `{ rfilename, size, blobId, lfs?: { sha256, size } }` */
function parseFile(sibling: unknown): RemoteFile | null {
  if (!isObject(sibling)) return null;
  const { rfilename: name, blobId, lfs } = sibling;
  const hash = isObject(lfs) ? lfs.sha256 : blobId;
  const size = isObject(lfs) ? lfs.size : sibling.size;
  if (typeof name !== 'string' || typeof hash !== 'string' || typeof size !== 'number') return null;
  if (!(isObject(lfs) ? SHA256.test(hash) : isCommit(hash))) return null;
  return Number.isSafeInteger(size) && size >= 0 && size <= MAX_FILE_BYTES ? { name, size, hash } : null;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
