/** A checkpoint's tokenizer, in its own thread. */

import { join } from 'node:path';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { argumentError, SanaError } from '../base/errors.ts';
import { modelError } from '../base/model-error.ts';
import { type EncodeRequest, READY, type WorkerAnswer, type WorkerInput } from './tokenizer-messages.ts';

const MAX_CHARACTERS = 1_000_000;
const PATIENCE_MS = 60_000; // a text of a million characters takes ten to twenty seconds
const HEAP_MB = 2048; // reading Gemma's 256 000 tokens takes 250

interface Waiting {
  resolve(ids: readonly number[][]): void;
  reject(error: unknown): void;
}

/**
 * Turns text into token ids, the start token first.
 *
 * @example
 * const tokenizer = await Tokenizer.load('path/to/checkpoint/tokenizer');
 * const [ids] = await tokenizer.encodeBatch(['a red fox in snow']);
 * tokenizer.dispose();
 */
export class Tokenizer {
  readonly #file: string;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #answered = new Int32Array(new SharedArrayBuffer(4));
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 0;
  #failure: SanaError | null = null;
  #started = false;
  #stopped = false;

  private constructor(folder: string) {
    this.#file = join(folder, 'tokenizer.json');
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const input: WorkerInput = { file: this.#file, port: port2, answered: this.#answered.buffer as SharedArrayBuffer };
    const entry = import.meta.url.endsWith('.ts') ? './tokenizer-worker-source.mjs' : './tokenizer-worker.js';
    this.#worker = new Worker(new URL(entry, import.meta.url), {
      workerData: input,
      transferList: [port2],
      execArgv: [], // the program's own flags, such as --eval, are not for this thread
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    this.#worker.on('message', (answer: WorkerAnswer) => this.#settle(answer));
    this.#worker.on('error', (cause) =>
      this.#fail(modelError(this.#file, `the tokenizer failed: ${cause.message}`, undefined, cause)),
    );
    this.#worker.on('exit', () => this.#fail(modelError(this.#file, 'the tokenizer ended')));
  }

  /** Loads the `tokenizer.json` of a folder. An aborted `signal` rejects with its reason. */
  static async load(folder: string, options: { signal?: AbortSignal } = {}): Promise<Tokenizer> {
    const { signal } = options;
    signal?.throwIfAborted();
    const tokenizer = new Tokenizer(folder);
    const abort = () => tokenizer.#stop(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await tokenizer.#wait(READY);
      return tokenizer;
    } catch (error) {
      tokenizer.dispose();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Encodes one text while the calling thread waits. */
  encode(text: string): { ids: number[] } {
    this.#check([text]);
    const request: EncodeRequest = { id: this.#nextId++, texts: [text] };
    Atomics.store(this.#answered, 0, 0);
    this.#port.postMessage(request);
    if (Atomics.wait(this.#answered, 0, 0, PATIENCE_MS) === 'timed-out') {
      this.#fail(this.#tooSlow());
      throw this.#tooSlow();
    }
    const answer = receiveMessageOnPort(this.#port)?.message as WorkerAnswer | undefined;
    if (answer?.ids?.[0] === undefined) throw errorOf(answer, this.#file);
    return { ids: answer.ids[0] };
  }

  /** Encodes texts while the event loop keeps running. */
  async encodeBatch(texts: readonly string[]): Promise<number[][]> {
    this.#check(texts);
    const id = this.#nextId++;
    const answer = this.#wait(id);
    this.#worker.postMessage({ id, texts } satisfies EncodeRequest);
    const timer = setTimeout(() => this.#fail(this.#tooSlow()), PATIENCE_MS);
    try {
      return [...(await answer)];
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the thread; texts being encoded reject. Idempotent. */
  dispose(): void {
    this.#stop(disposed());
    this.#failure ??= disposed();
  }

  #check(texts: readonly string[]): void {
    if (this.#failure !== null) throw this.#failure;
    for (const text of texts) {
      if (typeof text !== 'string' || text.length > MAX_CHARACTERS) {
        throw argumentError('text', `a string of at most ${MAX_CHARACTERS} characters`, text);
      }
    }
  }

  /** The answer to request `id`. The thread keeps the process alive only while an answer is awaited. */
  #wait(id: number): Promise<readonly number[][]> {
    this.#worker.ref();
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #settle(answer: WorkerAnswer): void {
    this.#started = true;
    if (this.#stopped) void this.#worker.terminate();
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (this.#waiting.size === 0) this.#worker.unref();
    if (answer.ids !== undefined) waiting?.resolve(answer.ids);
    else waiting?.reject(errorOf(answer, this.#file));
  }

  #fail(error: SanaError): void {
    this.#failure ??= error;
    this.#stop(error);
  }

  #stop(reason: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    this.#port.close();
    this.#stopped = true;
    this.#worker.unref();
    // A thread that is terminated while it starts can leave file descriptors open, so it is terminated after it has
    // started.
    if (this.#started) void this.#worker.terminate();
  }

  #tooSlow(): SanaError {
    return modelError(this.#file, `the tokenizer gave no answer within ${PATIENCE_MS / 1000} s`);
  }
}

function errorOf(answer: WorkerAnswer | undefined, file: string): SanaError {
  if (answer?.error === undefined) return modelError(file, 'the tokenizer gave no answer');
  return new SanaError(answer.error.code, answer.error.message, { hint: answer.error.hint });
}

function disposed(): SanaError {
  return new SanaError('ERR_SANA_DISPOSED', 'The tokenizer has been disposed of', { hint: 'Load it again.' });
}
