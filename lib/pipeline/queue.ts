/** One call at a time: overlapping calls of one pipeline are queued. */

import { SanaError } from '../base/errors.ts';

export class Queue {
  readonly #closedMessage: string;
  readonly #closedHint: string;
  #tail: Promise<unknown> = Promise.resolve();
  #calls = 0; // running and waiting
  #closed = false;

  /** The message and the hint of the error that calls after `close` get. */
  constructor(closedMessage: string, closedHint: string) {
    this.#closedMessage = closedMessage;
    this.#closedHint = closedHint;
  }

  /** Runs `task` after those before it. If the signal aborts while it waits, it is removed from the queue. */
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
      // On an idle queue the task starts at once: `close` waits for a call that was made before it, and rejects others.
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

  /** Rejects waiting and later calls, and resolves when the running call has ended. */
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
