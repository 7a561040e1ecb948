/**
 * Keys and values of instructions, kept on disk: an instruction has more tokens than most prompts, and is the same in
 * every process. What is read is bit for bit what was computed, or nothing: a file is found by the weights, the way
 * they are computed, and the tokens, and contains a hash of its contents. If the folder cannot be read or written,
 * instructions are computed.
 */

import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { readSafetensors } from '../checkpoint/safetensors.ts';
import { writeSafetensors } from '../checkpoint/tensor-file.ts';
import { addon } from '../device/native.ts';

/** Version of the file format. */
const FORM = 1;
const SUFFIX = '.safetensors';
/** An instruction of the released models takes 22 MB in bf16. The most recently used ones are kept. */
const MOST_BYTES = 512e6;

export interface KeptInstruction {
  /** Of all layers, in the device's layout. */
  readonly keysValues: Uint8Array;
  /** The hidden state of the first token, [C]. */
  readonly first: Float32Array;
}

export class InstructionCache {
  readonly #folder: string;
  readonly #files: readonly string[];
  readonly #computed: string;
  readonly #mostBytes: number;

  /**
   * `files` are those of the weights; `computed` is everything else that determines the bits, such as the device's code
   * path.
   */
  constructor(folder: string, files: readonly string[], computed: string, mostBytes = MOST_BYTES) {
    this.#mostBytes = mostBytes;
    this.#folder = folder;
    this.#files = files;
    this.#computed = computed;
  }

  /** The entry for these tokens, if it has the expected sizes. */
  async find(ids: readonly number[], bytes: number, channels: number): Promise<KeptInstruction | undefined> {
    try {
      const path = await this.#path(ids);
      const file = addon().openFile(path);
      try {
        const { tensors, metadata } = await readSafetensors(file);
        const [keysValues, first] = [tensors.get('keys_values'), tensors.get('first')];
        if (keysValues?.bytes !== bytes || first?.bytes !== 4 * channels) return undefined;
        const kept = {
          keysValues: new Uint8Array(await file.read(keysValues.offset, bytes)),
          first: new Float32Array(await file.read(first.offset, 4 * channels)),
        };
        if (metadata.get('sha256') !== hashOf(kept)) return undefined;
        const now = new Date();
        await utimes(path, now, now); // the most recently used ones are kept
        return kept;
      } finally {
        file.close();
      }
    } catch {
      return undefined;
    }
  }

  async keep(ids: readonly number[], kept: KeptInstruction): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      const { keysValues, first } = kept;
      const tensors = new Map([
        ['keys_values', { shape: [keysValues.length], data: keysValues }],
        ['first', { shape: [first.length], data: first }],
      ]);
      await writeSafetensors(await this.#path(ids), tensors, new Map([['sha256', hashOf(kept)]]));
      await this.#prune();
    } catch {
      // Then the next process computes it, too.
    }
  }

  async #path(ids: readonly number[]): Promise<string> {
    const hash = createHash('sha256').update(`${FORM}\n${this.#computed}\n${ids.join()}\n`);
    for (const file of this.#files) {
      // The gigabytes of weights are not read for this: any change of a file changes its timestamps.
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
      hash.update(`${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}\n`);
    }
    return join(this.#folder, `${hash.digest('hex')}${SUFFIX}`);
  }

  async #prune(): Promise<void> {
    const names = (await readdir(this.#folder)).filter((name) => name.endsWith(SUFFIX));
    const files = await Promise.all(
      names.map(async (name) => {
        const { size, mtimeMs } = await stat(join(this.#folder, name));
        return { name, size, mtimeMs };
      }),
    );
    files.sort((a, b) => b.mtimeMs - a.mtimeMs);
    let bytes = 0;
    for (const { name, size } of files) {
      bytes += size;
      if (bytes > this.#mostBytes) await rm(join(this.#folder, name), { force: true });
    }
  }
}

function hashOf({ keysValues, first }: KeptInstruction): string {
  const bytes = new Uint8Array(first.buffer, first.byteOffset, first.byteLength);
  return createHash('sha256').update(keysValues).update(bytes).digest('hex');
}
