/** Retries what may succeed the next time. */

import { setTimeout as sleep } from 'node:timers/promises';
import { downloadError, Transient } from './failures.ts';

export interface Patience {
  /** How often in a row something may fail without any progress. */
  readonly attempts: number;
  /** The first pause; every further one is twice as long, up to `maxPauseMs`. */
  readonly pauseMs: number;
  readonly maxPauseMs: number;
}

export const PATIENCE: Patience = { attempts: 5, pauseMs: 1000, maxPauseMs: 16_000 };

/** A server that asks for a longer wait is given up. */
const MAX_RETRY_AFTER_MS = 5 * 60_000;
/** The limit of all attempts, however much progress there is: a server that sends a byte at a time is given up. */
const MAX_ATTEMPTS = 200;

/**
 * Runs `work` until it succeeds or fails for good. `work` is called with nothing; `progress` says how far it is, and a
 * failure after progress starts the count again.
 */
export async function retrying<T>(
  what: string,
  work: () => Promise<T>,
  options: { readonly patience: Patience; readonly signal: AbortSignal; readonly progress?: () => number },
): Promise<T> {
  const { patience, signal, progress = () => 0 } = options;
  let failures = 0;
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    const before = progress();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Transient)) throw error;
      failures = progress() > before ? 1 : failures + 1;
      const tooLong = (error.retryAfterMs ?? 0) > MAX_RETRY_AFTER_MS;
      if (failures >= patience.attempts || attempt >= MAX_ATTEMPTS || tooLong) throw givenUp(what, error, attempt);
      // Clients that were cut off together should not all come back at the same moment.
      const pause = Math.min(patience.maxPauseMs, patience.pauseMs * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
      await sleep(error.retryAfterMs ?? pause, undefined, { signal }).catch(() => signal.throwIfAborted());
    }
  }
}

function givenUp(what: string, error: Transient, attempts: number): Error {
  const tries = attempts === 1 ? '' : ` (tried ${attempts} times)`;
  const hint =
    error.status === 429
      ? 'The hub limits the number of requests: wait, or pass a token (HF_TOKEN), which has a higher limit.'
      : 'Check the connection and HTTPS_PROXY, and run it again: the download resumes. ' +
        'A complete download can be loaded with localFilesOnly or HF_HUB_OFFLINE=1.';
  return downloadError(`${what}: ${error.message}${tries}`, hint, error);
}
