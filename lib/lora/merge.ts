/**
 * Merges adapters into a matrix of a loaded model:
 *
 *   W' = W + sum_i s_i B_i A_i          W [out, in]   B_i [out, r_i]   A_i [r_i, in]
 *
 * computed in f32 from the checkpoint's own W and rounded once, when W' is packed in the place of W. The sum is one
 * product: all s_i B_i next to each other, [out, R], times all A_i on top of each other, [R, in].
 */

import { SanaError } from '../base/errors.ts';
import type { Component } from '../checkpoint/checkpoint.ts';
import type { NativeDevice } from '../device/native.ts';
import { Graph } from '../graph/graph.ts';
import type { Plan } from '../graph/planner.ts';
import { Program, read, write } from '../graph/program.ts';
import { rows, Storage, type Tensor } from '../graph/tensor.ts';
import type { Weights } from '../networks/weights.ts';
import type { LoraDelta } from './lora-file.ts';

/** One adapter's part in a matrix; scale includes the adapter's own factor. */
export interface Contribution {
  readonly delta: LoraDelta;
  readonly scale: number;
}

/** A matrix and everything to be added to the checkpoint's values. */
export interface Merge {
  readonly name: string; // of the checkpoint's tensor
  readonly contributions: readonly Contribution[];
}

/** What merging needs of a pipeline's engine. */
export interface MergeEngine {
  readonly device: NativeDevice;
  run(program: Program, signal?: AbortSignal): Promise<void>;
  /** Throws ERR_SANA_MEMORY if they do not fit. */
  demandMemory(bytes: number, what: string, hint: string): void;
}

/** Rows of a matrix that are in memory as f32 at a time. */
const CHUNK_BYTES = 32 << 20;

/** The memory and the program of one matrix, a chunk of rows at a time. */
interface Product {
  readonly storage: Storage;
  readonly base: Tensor; // [rows, in] f32: W, then W'
  readonly up: Tensor; // [rows, R] f32
  readonly down: Tensor; // [in, R], packed
  readonly plan: Plan;
}

export class Merger {
  readonly #engine: MergeEngine;
  readonly #weights: Weights;
  readonly #component: Component<unknown>;
  readonly #chunkBytes: number;

  /** `chunkBytes`: see CHUNK_BYTES. */
  constructor(engine: MergeEngine, weights: Weights, component: Component<unknown>, chunkBytes = CHUNK_BYTES) {
    this.#engine = engine;
    this.#weights = weights;
    this.#component = component;
    this.#chunkBytes = chunkBytes;
  }

  /** Device memory that a merge needs at a time, in addition to the weights. */
  scratchBytes(merges: readonly Merge[]): number {
    return Math.max(0, ...merges.filter(changes).map((merge) => this.#record(merge).storage.bytes));
  }

  /** What merging computes, with all matrices in one plan, for `explain`. */
  plan(merges: readonly Merge[]): Plan {
    const g = new Graph('lora merge');
    for (const merge of merges.filter(changes)) {
      const chunks = Math.ceil(this.#sizeOf(merge.name).rows / this.#chunkRows(merge.name));
      this.#record(merge, g, chunks);
    }
    return g.plan();
  }

  /**
   * Makes the packed matrix what the merge says, or the checkpoint's if nothing contributes. Its contents before do not
   * matter; if this fails, its contents are undefined.
   */
  async merge(merge: Merge, signal?: AbortSignal): Promise<void> {
    const { name, contributions } = merge;
    signal?.throwIfAborted();
    if (!changes(merge)) return await this.#weights.restore(this.#component, name);
    const { device } = this.#engine;
    const { rows: n } = this.#sizeOf(name);
    const { storage, base, up, down, plan } = this.#record(merge);
    const [chunk = 1] = base.shape;
    const sides = sideBySide(contributions);
    storage.allocate();
    try {
      await pack(device, down, sides.down);
      const program = new Program(device, plan);
      try {
        let nonFinite = 0;
        for (let first = 0; first < n; first += chunk) {
          signal?.throwIfAborted();
          // The last chunk may be shorter: the rows after it keep their old values and are not used.
          const count = Math.min(chunk, n - first);
          await this.#weights.readRows(this.#component, name, first, rows(base, 0, count));
          await write(device, rows(up, 0, count), sides.up.subarray(first * sides.rank, (first + count) * sides.rank));
          await this.#engine.run(program, signal);
          const merged = new Uint8Array(await read(device, rows(base, 0, count)));
          nonFinite += await this.#weights.replaceRows(name, first, merged);
        }
        if (nonFinite > 0) throw overflow(name, nonFinite);
      } finally {
        program.dispose();
      }
    } finally {
      storage.dispose();
    }
  }

  #sizeOf(name: string): { readonly rows: number; readonly columns: number } {
    const size = this.#weights.matrices().get(name);
    if (size === undefined) throw new Error(`${name} is no matrix of the model`);
    return size;
  }

  #chunkRows(name: string): number {
    const { rows: n, columns: k } = this.#sizeOf(name);
    return Math.min(n, Math.max(1, Math.floor(this.#chunkBytes / (4 * k))));
  }

  #record({ name, contributions }: Merge, g = new Graph('lora merge'), chunks = 1): Product {
    const { columns: k } = this.#sizeOf(name);
    const rank = contributions.reduce((sum, { delta }) => sum + delta.rank, 0);
    const chunk = this.#chunkRows(name);
    const storage = new Storage(this.#engine.device, `lora ${name}`);
    const base = storage.reserve('f32', [chunk, k]);
    const up = storage.reserve('f32', [chunk, rank]);
    const down = storage.reserve('f32', [k, rank], 'linear');
    for (let i = 0; i < chunks; i++) g.scope(name, () => g.linear(up, down, { residual: base, into: base }));
    return { storage, base, up, down, plan: g.plan() };
  }
}

function changes({ contributions }: Merge): boolean {
  return contributions.length > 0;
}

/** All s_i B_i next to each other, [out, R], and all A_i likewise as the weight of a product, [in, R]. */
function sideBySide(contributions: readonly Contribution[]): { up: Float32Array; down: Float32Array; rank: number } {
  const total = contributions.reduce((sum, { delta }) => sum + delta.rank, 0);
  let up = new Float32Array();
  let down = new Float32Array();
  let left = 0;
  for (const { delta, scale } of contributions) {
    const { rank } = delta;
    const b = delta.up.read(); // [out, rank]
    const a = delta.down.read(); // [rank, in]
    const n = b.length / rank;
    const k = a.length / rank;
    if (left === 0) [up, down] = [new Float32Array(n * total), new Float32Array(k * total)];
    for (let row = 0; row < n; row++) {
      for (let j = 0; j < rank; j++) up[row * total + left + j] = scale * (b[row * rank + j] as number);
    }
    for (let j = 0; j < rank; j++) {
      for (let column = 0; column < k; column++) down[column * total + left + j] = a[j * k + column] as number;
    }
    left += rank;
  }
  return { up, down, rank: total };
}

async function pack(device: NativeDevice, target: Tensor, data: Float32Array): Promise<void> {
  const [n = 0, k = 0] = target.shape;
  if (!(target.place instanceof Storage)) throw new Error('packed tensors lie in a storage');
  await device.pack({
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    dataDtype: 'f32',
    rows: n,
    rowElements: k,
    buffer: target.place.buffer,
    target,
    firstRow: 0,
  });
}

function overflow(name: string, count: number): SanaError {
  return new SanaError('ERR_SANA_NUMERICS', `With the LoRA adapters, ${name} has ${count} NaN or infinite values`, {
    hint: 'Their values or scales are too large: use a smaller scale, or unload the last adapter.',
  });
}
