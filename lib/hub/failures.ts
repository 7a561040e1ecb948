/** Failures of the connection to the hub and of the disk, told apart by whether a retry can help. */

import { SanaError } from '../base/errors.ts';
import { quoted } from './repository.ts';

/** A failure that may be temporary: a broken connection, a busy server. */
export class Transient extends Error {
  readonly retryAfterMs: number | undefined;
  /** The HTTP status of a response that refused to serve; undefined if there was no response. */
  readonly status: number | undefined;

  constructor(message: string, options: { cause?: unknown; retryAfterMs?: number; status?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs;
    this.status = options.status;
  }
}

export function downloadError(message: string, hint: string, cause?: unknown): SanaError {
  return new SanaError('ERR_SANA_DOWNLOAD', message, { hint, ...(cause !== undefined && { cause }) });
}

/** What was received is not what was announced. */
export function integrityError(name: string, reason: string): SanaError {
  return new SanaError('ERR_SANA_INTEGRITY', `${name}: ${reason}`, {
    hint: 'Try again. If it fails again, a proxy or mirror changes the files, or the file is damaged on the hub.',
  });
}

const ELSEWHERE = 'or use another cache folder: the option cacheDir, --cache-dir or HF_HUB_CACHE.';

/** The error for a file or folder of the cache that cannot be read or written. */
export function cacheError(path: string, cause: unknown): SanaError {
  if (cause instanceof SanaError) return cause;
  const { code = '', message = String(cause) } = (cause ?? {}) as Partial<NodeJS.ErrnoException>;
  if (code === 'ENOSPC' || code === 'EDQUOT') return diskFull(path, 'the disk is full', cause);
  const readOnly = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
  const hint = `${readOnly ? 'Get permission to write there' : 'Check what is there'}, ${ELSEWHERE}`;
  const reason = readOnly ? 'it is read-only' : message;
  return new SanaError('ERR_SANA_FILE', `The cache cannot be written at ${path}: ${reason}`, { hint, cause });
}

export function diskFull(path: string, reason: string, cause?: unknown): SanaError {
  return new SanaError('ERR_SANA_FILE', `The cache cannot be written at ${path}: ${reason}`, {
    hint: `Free some space and run it again, which resumes the download, ${ELSEWHERE}`,
    ...(cause !== undefined && { cause }),
  });
}

/** What the server said when it refused, for a message: at most one line. */
export function said(headers: Readonly<Record<string, string | string[] | undefined>>): string {
  const text = headers['x-error-message'];
  return typeof text === 'string' && text !== '' ? `: ${quoted(text)}` : '';
}

/** The time of a `Retry-After` header: seconds, or a date. */
export function retryAfterMs(header: string | string[] | undefined, now = Date.now()): number | undefined {
  const text = typeof header === 'string' ? header.trim() : '';
  if (/^\d{1,9}$/.test(text)) return 1000 * Number(text);
  const date = /^[A-Z][a-z]{2}, /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
