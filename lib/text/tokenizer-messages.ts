/**
 * The messages between a tokenizer and its thread. They are not in the thread's own file, which runs code when it is
 * imported.
 */

import type { MessagePort } from 'node:worker_threads';
import type { SanaError } from '../base/errors.ts';

export interface WorkerInput {
  readonly file: string; // tokenizer.json
  readonly port: MessagePort; // for texts that the main thread waits for
  readonly answered: SharedArrayBuffer; // one i32, set to 1 after each such answer
}

export interface EncodeRequest {
  readonly id: number;
  readonly texts: readonly string[];
}

/** Messages of the worker: first that it is ready, or why not; then one answer for each request. */
export interface WorkerAnswer {
  readonly id: number; // of the request; READY for the first
  readonly ids?: readonly number[][];
  readonly error?: { readonly code: SanaError['code']; readonly message: string; readonly hint: string };
}

export const READY = -1;
