/** One call at a time: what keeps overlapping requests to one pipeline apart. */

import { SanaError } from '../base/errors.ts';

export class Queue {
  readonly #closedMessage: string;
  readonly #closedHint: string;
  #tail: Promise<unknown> = Promise.resolve();
  #calls = 0; // running and waiting
  #closed = false;

  /** What is said, and what to do, when a call comes after `close`. */
  constructor(closedMessage: string, closedHint: string) {
    this.#closedMessage = closedMessage;
    this.#closedHint = closedHint;
  }

  /** Runs `task` after those before it. A signal that aborts while it waits takes it out of the queue. */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#demandOpen();
    signal?.throwIfAborted();
    const turn = this.#tail;
    const idle = this.#calls++ === 0;
    let done: () => void = () => {};
    this.#tail = new Promise<void>((resolve) => {
      done = resolve;
    });
    try {
      // An idle queue begins at once, so that a call made before `close` is one that runs, not one that waits.
      if (!idle) {
        await abortable(turn, signal);
        this.#demandOpen();
      }
      return await task();
    } finally {
      this.#calls--;
      void turn.then(done);
    }
  }

  /** Rejects what waits and what comes, and resolves when the running call is over. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#tail;
  }

  #demandOpen(): void {
    if (!this.#closed) return;
    throw new SanaError('ERR_SANA_DISPOSED', this.#closedMessage, { hint: this.#closedHint });
  }
}

/** Waits for `promise`, or rejects with the signal's reason as soon as it aborts. */
async function abortable(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) {
    await promise;
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    void promise.then(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
  });
}
