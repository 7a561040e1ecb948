/**
 * The thread that reads a tokenizer and encodes with it: a second of work for 256 000 tokens, kept off the main thread.
 */

import { basename, dirname } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { SanaError } from '../base/errors.ts';
import { modelError } from '../base/model-error.ts';
import { ModelFolder } from '../checkpoint/model-folder.ts';
import { encodeText } from './encode-text.ts';
import { checkTokenizerDefinition, MAX_TOKENIZER_BYTES, type TokenizerDefinition } from './tokenizer-definition.ts';
import { type EncodeRequest, READY, type WorkerAnswer, type WorkerInput } from './tokenizer-messages.ts';

async function load(file: string): Promise<TokenizerDefinition> {
  const folder = await ModelFolder.open(dirname(file));
  const bytes = await folder.read(basename(file), MAX_TOKENIZER_BYTES);
  if (bytes === null)
    throw modelError(file, 'is not there', 'The checkpoint is incomplete: download its tokenizer folder.');
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw modelError(file, `is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  return checkTokenizerDefinition(json, file);
}

function encode(definition: TokenizerDefinition, text: string, file: string): number[] {
  const ids = encodeText(definition, text);
  if (!ids.every((id) => id !== undefined)) throw modelError(file, 'has tokens without an id');
  return ids;
}

function answerWith(id: number, file: string, work: () => readonly number[][]): WorkerAnswer {
  try {
    return { id, ids: work() };
  } catch (cause) {
    const error = cause instanceof SanaError ? cause : modelError(file, `cannot be used: ${String(cause)}`);
    return { id, error: { code: error.code, message: error.message, hint: error.hint } };
  }
}

/**
 * Frees what reading has left behind, as far as possible: this thread does so little afterwards that the memory would
 * never be collected. Node.js has no other way.
 */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  collect();
}

async function serve(main: MessagePort, { file, port, answered }: WorkerInput): Promise<void> {
  // A failure to load is reported in the first answer, like every other failure.
  const loaded: () => TokenizerDefinition = await load(file).then(
    (definition) => () => definition,
    (cause: unknown) => () => {
      throw cause;
    },
  );
  const ready = answerWith(READY, file, () => {
    const start = encode(loaded(), '', file);
    if (start.length !== 1) throw modelError(file, `adds ${start.length} tokens to a text, expected one before it`);
    return [start];
  });
  main.postMessage(ready);
  if (ready.error !== undefined) return;
  collectGarbage();

  const answer = ({ id, texts }: EncodeRequest): WorkerAnswer =>
    answerWith(id, file, () => texts.map((text) => encode(loaded(), text, file)));
  main.on('message', (request: EncodeRequest) => main.postMessage(answer(request)));
  const flag = new Int32Array(answered);
  port.on('message', (request: EncodeRequest) => {
    port.postMessage(answer(request));
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  });
}

if (parentPort === null) throw new Error('this file is the code of a thread');
await serve(parentPort, workerData as WorkerInput);
