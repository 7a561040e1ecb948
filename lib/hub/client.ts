/**
 * Requests to the hub. Redirects are followed here and not by the HTTP library, because each one is a decision:
 *
 * - the token is sent to the hub's own origin only, and only over TLS or within this machine;
 * - only http and https are followed, and never from https to http;
 * - a non-public address (addresses.ts) is connected to only if the hub's own is of the same kind. This is checked
 *   where the connection is made, so a name that leads there is rejected like the number itself.
 *
 * Bodies are never decompressed: what is announced is what is received. The built-in `fetch` cannot do this: undici
 * lets a program check its connections, and takes the proxies from the environment.
 */

import { type LookupAddress, lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import type { Agent, Dispatcher } from 'undici';
import { type AddressKind, addressKind } from './addresses.ts';
import { downloadError, Transient } from './failures.ts';
import type { HubSettings } from './settings.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
  readonly url: URL; // after all redirects
}

const MAX_REDIRECTS = 8;
const CONNECT_MS = 10_000;
const REDIRECTS = [301, 302, 303, 307, 308];

/** Why a connection is not made. */
class Refused extends Error {}

export class HubClient {
  readonly #endpoint: URL;
  readonly #token: string | undefined;
  readonly #userAgent: string;
  readonly #dispatcher: Dispatcher;
  /** The kinds of the addresses that the hub's own name has. */
  readonly #ownKinds = new Set<AddressKind>();

  private constructor(
    { endpoint, token, idleMs, userAgent }: HubSettings,
    newDispatcher: (options: Agent.Options) => Dispatcher,
  ) {
    this.#endpoint = endpoint;
    this.#userAgent = userAgent;
    // Within the machine nobody can listen; anywhere else, a token without TLS is public.
    this.#token = endpoint.protocol === 'https:' || isLoopbackName(endpoint.hostname) ? token : undefined;
    const address = literal(endpoint.hostname);
    if (address !== null) this.#ownKinds.add(addressKind(address));
    this.#dispatcher = newDispatcher({
      headersTimeout: idleMs,
      bodyTimeout: idleMs,
      connect: { lookup: this.#lookup, timeout: Math.min(CONNECT_MS, idleMs) },
    });
  }

  static async open(settings: HubSettings): Promise<HubClient> {
    const { EnvHttpProxyAgent } = await import('undici'); // slow to load, and folders do not need it
    return new HubClient(settings, (options) => new EnvHttpProxyAgent(options));
  }

  /** Whether requests carry a token. */
  get hasToken(): boolean {
    return this.#token !== undefined;
  }

  /** An address below the hub's, from parts that may contain any characters. */
  url(...parts: string[]): URL {
    const url = new URL(this.#endpoint);
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${parts.map(encodeURIComponent).join('/')}`;
    return url;
  }

  /**
   * Requests `url`. Any status except a redirect is a response; its body must be read or destroyed.
   *
   * @throws Transient if there was no response.
   */
  async get(
    url: URL,
    options: { readonly headers?: Record<string, string>; readonly signal: AbortSignal },
  ): Promise<Answer> {
    let at = url;
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const { statusCode: status, headers, body } = await this.#request(at, options);
      body.on('error', () => {}); // also an error after the last read
      if (!REDIRECTS.includes(status)) return { status, headers, body, url: at };
      body.destroy();
      at = redirectTarget(at, headers.location);
    }
    throw downloadError(`${url.host} redirected more than ${MAX_REDIRECTS} times`, 'Check HF_ENDPOINT.');
  }

  /** Closes the connections. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #request(
    url: URL,
    { headers, signal }: { readonly headers?: Record<string, string>; readonly signal: AbortSignal },
  ): Promise<Dispatcher.ResponseData> {
    const address = literal(url.hostname);
    if (address !== null && !this.#allowed(url.hostname, addressKind(address))) {
      throw refused(url.hostname, addressKind(address));
    }
    const own = url.origin === this.#endpoint.origin && this.#token !== undefined;
    try {
      return await this.#dispatcher.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: 'GET',
        signal,
        headers: {
          'user-agent': this.#userAgent,
          'accept-encoding': 'identity',
          ...(own && { authorization: `Bearer ${this.#token}` }),
          ...headers,
        },
      });
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof Refused) throw downloadError(cause.message, REFUSED_HINT);
      throw new Transient(`no answer from ${url.host}: ${reasonOf(cause)}`, { cause });
    }
  }

  #allowed(hostname: string, kind: AddressKind): boolean {
    return kind === 'public' || hostname === this.#endpoint.hostname || this.#ownKinds.has(kind);
  }

  /** `dns.lookup` that returns only addresses that may be connected to. */
  readonly #lookup: LookupFunction = (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found: LookupAddress[] = []) => {
      if (error !== null) return callback(error, '');
      const own = hostname === this.#endpoint.hostname;
      if (own) for (const { address } of found) this.#ownKinds.add(addressKind(address));
      const allowed = found.filter(({ address }) => this.#allowed(hostname, addressKind(address)));
      const [first] = allowed;
      if (first === undefined) {
        return callback(new Refused(refusal(hostname, addressKind(found[0]?.address ?? '0.0.0.0'))), '');
      }
      if (options.all === true) callback(null, allowed);
      else callback(null, first.address, first.family);
    });
  };
}

/** The target of a redirect, if it may be followed at all. */
export function redirectTarget(from: URL, location: string | string[] | undefined): URL {
  const target = typeof location === 'string' && URL.canParse(location, from.href) ? new URL(location, from) : null;
  const followed = target?.protocol === 'https:' || (target?.protocol === 'http:' && from.protocol === 'http:');
  if (target !== null && followed && target.username === '') return target;
  // Only the kind of the target is shown: the target itself is the server's text, or a signed address.
  const where = target === null ? 'nowhere' : `${target.protocol}${target.username === '' ? '' : ' with a user'}`;
  throw downloadError(`${from.host} redirected from ${from.protocol} to ${where}, which is not followed`, REFUSED_HINT);
}

const REFUSED_HINT =
  'Check HF_ENDPOINT: the server there is not a hub, or redirects requests to places they should not go.';

function refusal(hostname: string, kind: AddressKind): string {
  return `The hub redirected to ${hostname}, a ${kind} address, which is not followed`;
}

function refused(hostname: string, kind: AddressKind): Error {
  return downloadError(refusal(hostname, kind), REFUSED_HINT);
}

/** The IP address that is the host of a URL, or null if it is a name. */
function literal(hostname: string): string | null {
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  return isIP(address) === 0 ? null : address;
}

function isLoopbackName(hostname: string): boolean {
  const address = literal(hostname);
  return address === null ? hostname === 'localhost' : addressKind(address) === 'loopback';
}

/** The first line of an error and of its causes; undici joins the errors of several addresses into one. */
function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0]);
  if (!(cause instanceof Error)) return String(cause);
  const inner = cause.cause instanceof Error ? ` (${reasonOf(cause.cause)})` : '';
  return `${(cause.message || ('code' in cause ? String(cause.code) : cause.name)).split('\n')[0]}${inner}`;
}
