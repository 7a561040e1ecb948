/**
 * A model's weights: which checkpoint tensors become which packed tensors. Declared first, so that names, shapes and
 * bytes are known before a file is read or memory taken; then loaded row by row, never twice in memory.
 */

import { SanaError } from '../errors.ts';
import { write } from '../graph/program.ts';
import { Block, elements, type Tensor } from '../graph/tensor.ts';
import type { DType, Layout, NativeDevice } from '../native.ts';
import { type Component, checkTensors } from '../runtime/checkpoint.ts';

interface Source {
  readonly name: string;
  readonly shape: readonly number[]; // in the checkpoint
  readonly target: Tensor;
  readonly firstRow: number;
}

export interface WeightsProgress {
  readonly loaded: number; // bytes of the checkpoint read so far
  readonly total: number;
}

export class Weights {
  /** The dtype of the matrices; vectors and small tables are f32 always. */
  readonly dtype: DType;
  readonly block: Block;
  readonly #device: NativeDevice;
  readonly #sources: Source[] = [];
  readonly #ones: Tensor[] = [];

  constructor(device: NativeDevice, name: string, dtype: DType) {
    this.dtype = dtype;
    this.#device = device;
    this.block = new Block(device, name);
  }

  get bytes(): number {
    return this.block.bytes;
  }

  /** Matrices of K columns stacked on top of each other: [N, K], as checkpoint tensors [rows, K] (or [rows, K, 1, 1]). */
  linear(
    names: readonly string[],
    rows: readonly number[],
    k: number,
    layout: Layout = 'linear',
    convolution = false,
  ): Tensor {
    const target = this.block.reserve(this.dtype, [rows.reduce((a, b) => a + b, 0), k], layout);
    let firstRow = 0;
    names.forEach((name, i) => {
      const n = rows[i] ?? 0;
      this.#sources.push({ name, shape: convolution ? [n, k, 1, 1] : [n, k], target, firstRow });
      firstRow += n;
    });
    return target;
  }

  /** A kh x kw convolution: [O, kh, kw, I], in the checkpoint [O, I, kh, kw]. */
  conv2d(name: string, o: number, i: number, size: number, layout: Layout = 'conv2d'): Tensor {
    const target = this.block.reserve(this.dtype, [o, size, size, i], layout);
    this.#sources.push({ name, shape: [o, i, size, size], target, firstRow: 0 });
    return target;
  }

  /** A depthwise convolution: [C, size, size] f32, in the checkpoint [C, 1, size, size]. */
  depthwise(name: string, c: number, size: number): Tensor {
    const target = this.block.reserve('f32', [c, size, size], 'depthwise');
    this.#sources.push({ name, shape: [c, 1, size, size], target, firstRow: 0 });
    return target;
  }

  /** Biases, norm weights and small tables, f32: `shape` here, `stored` in the checkpoint when that differs. */
  table(name: string, shape: readonly number[], stored: readonly number[] = shape): Tensor {
    const target = this.block.reserve('f32', shape);
    this.#sources.push({ name, shape: stored, target, firstRow: 0 });
    return target;
  }

  vector(name: string, n: number): Tensor {
    return this.table(name, [n]);
  }

  /** Vectors of n elements end to end, f32. */
  concat(names: readonly string[], n: number): Tensor {
    const target = this.block.reserve('f32', [names.length * n]);
    names.forEach((name, i) => {
      this.#sources.push({ name, shape: [n], target, firstRow: i * n });
    });
    return target;
  }

  /** Several tables [rows, C] stacked: [sum of rows, C] f32. */
  stack(names: readonly string[], rows: number, c: number): Tensor {
    const target = this.block.reserve('f32', [names.length * rows, c]);
    names.forEach((name, i) => {
      this.#sources.push({ name, shape: [rows, c], target, firstRow: i * rows });
    });
    return target;
  }

  /** A vector of the checkpoint, and ones after it up to `total` elements, as one row of factors: [1, total] f32. */
  beforeOnes(name: string, n: number, total: number): Tensor {
    const target = this.block.reserve('f32', [1, total]);
    this.#sources.push({ name, shape: [n], target, firstRow: 0 });
    this.#ones.push({ ...target, shape: [total - n], pitch: total - n, offset: target.offset + 4 * n });
    return target;
  }

  /** The checkpoint tensors this model takes, by name. */
  expected(): Map<string, readonly number[]> {
    return new Map(this.#sources.map(({ name, shape }) => [name, shape]));
  }

  /**
   * Compares the headers of the component's files with what is expected; reads no weights.
   * @throws SanaError ERR_SANA_MODEL listing missing, extra and misshapen tensors.
   */
  check(component: Component<unknown>, others?: RegExp): void {
    checkTensors(component, this.expected(), others === undefined ? {} : { ignore: others });
  }

  /**
   * Allocates the block and fills it. `others` are tensors of the component that belong to somebody else.
   * @throws SanaError ERR_SANA_MODEL listing missing, extra and misshapen tensors, or naming one with a NaN or infinity.
   */
  async load(
    component: Component<unknown>,
    options: {
      others?: RegExp;
      signal?: AbortSignal | undefined;
      onProgress?: (progress: WeightsProgress) => void;
    } = {},
  ): Promise<void> {
    const { others, signal, onProgress } = options;
    this.check(component, others);
    const sizes = this.#sources.map(({ name }) => component.tensors.get(name)?.bytes ?? 0);
    const total = sizes.reduce((a, b) => a + b, 0);
    this.block.allocate();
    try {
      for (const tensor of this.#ones)
        await write(this.#device, tensor, new Float32Array(elements(tensor.shape)).fill(1));
      let loaded = 0;
      for (const [i, { name, shape, target, firstRow }] of this.#sources.entries()) {
        signal?.throwIfAborted();
        const entry = component.tensors.get(name);
        if (entry === undefined) continue; // checkTensors has seen to it
        const rows = shape[0] ?? 1;
        const nonFinite = await this.#device.pack({
          file: component.file(entry),
          fileOffset: entry.offset,
          fileDtype: entry.dtype as DType, // checkTensors lets f32, bf16 and f16 through
          rows,
          rowElements: elements(shape) / rows,
          buffer: this.block.buffer,
          target,
          firstRow,
        });
        if (nonFinite > 0) {
          throw new SanaError(
            'ERR_SANA_MODEL',
            `${entry.path}: tensor ${name} holds ${nonFinite} NaN or infinite values`,
            {
              hint: 'The file is damaged or was saved from a failed training run: download it again or use another one.',
            },
          );
        }
        loaded += sizes[i] ?? 0;
        onProgress?.({ loaded, total });
      }
    } catch (error) {
      this.block.dispose();
      throw error;
    }
  }

  dispose(): void {
    this.block.dispose();
  }
}
