/**
 * A model's weights: which checkpoint tensors become which packed tensors. They are declared first, so that names,
 * shapes and bytes are known before a file is read or memory is allocated; then they are loaded row by row, never twice
 * in memory.
 */

import { type ActivationDtype, bytesPerElement, type DType, isQuantized, type ModelDtype } from '../base/dtypes.ts';
import { SanaError } from '../base/errors.ts';
import { type Component, checkTensors } from '../checkpoint/checkpoint.ts';
import type { Layout, NativeBuffer, NativeDevice } from '../device/native.ts';
import { write } from '../graph/program.ts';
import { columnsOf, elements, Storage, type Tensor } from '../graph/tensor.ts';

export type { ActivationDtype, ModelDtype } from '../base/dtypes.ts';

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

/** The dtype of a model's activations: with i8 and f8, only the products of a transformer's blocks are in 8 bits. */
export function activationDtype(dtype: ModelDtype): ActivationDtype {
  return isQuantized(dtype) ? 'bf16' : dtype;
}

export class Weights {
  /** The dtype of activations and of most matrices; vectors and small tables are always f32. */
  readonly dtype: ActivationDtype;
  /** The dtype of the matrices in a transformer's blocks that every token goes through. */
  readonly blockDtype: ModelDtype;
  readonly storage: Storage;
  readonly #device: NativeDevice;
  readonly #sources: Source[] = [];
  readonly #ones: Tensor[] = [];

  constructor(device: NativeDevice, name: string, dtype: ModelDtype) {
    this.dtype = activationDtype(dtype);
    this.blockDtype = dtype;
    this.#device = device;
    this.storage = new Storage(device, name);
  }

  get bytes(): number {
    return this.storage.bytes;
  }

  /**
   * Matrices of K columns stacked on top of each other: [N, K], from checkpoint tensors [rows, K], or [rows, K, 1, 1]
   * of a `convolution`.
   */
  linear(
    names: readonly string[],
    rows: readonly number[],
    k: number,
    options: { layout?: Layout; convolution?: boolean; dtype?: ModelDtype } = {},
  ): Tensor {
    const { layout = 'linear', convolution = false, dtype = this.dtype } = options;
    const target = this.storage.reserve(dtype, [rows.reduce((a, b) => a + b, 0), k], layout);
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
    const target = this.storage.reserve(this.dtype, [o, size, size, i], layout);
    this.#sources.push({ name, shape: [o, i, size, size], target, firstRow: 0 });
    return target;
  }

  /** A depthwise convolution: [C, size, size] f32, in the checkpoint [C, 1, size, size]. */
  depthwise(name: string, c: number, size: number): Tensor {
    const target = this.storage.reserve('f32', [c, size, size], 'depthwise');
    this.#sources.push({ name, shape: [c, 1, size, size], target, firstRow: 0 });
    return target;
  }

  /** Biases, norm weights and small tables, f32: `shape` here, `stored` in the checkpoint if it differs. */
  table(name: string, shape: readonly number[], stored: readonly number[] = shape): Tensor {
    const target = this.storage.reserve('f32', shape);
    this.#sources.push({ name, shape: stored, target, firstRow: 0 });
    return target;
  }

  vector(name: string, n: number): Tensor {
    return this.table(name, [n]);
  }

  /** Vectors of n elements, concatenated, f32. */
  concat(names: readonly string[], n: number): Tensor {
    const target = this.storage.reserve('f32', [names.length * n]);
    names.forEach((name, i) => {
      this.#sources.push({ name, shape: [n], target, firstRow: i * n });
    });
    return target;
  }

  /** Several tables [rows, C] stacked: [sum of rows, C] f32. */
  stack(names: readonly string[], rows: number, c: number): Tensor {
    const target = this.storage.reserve('f32', [names.length * rows, c]);
    names.forEach((name, i) => {
      this.#sources.push({ name, shape: [rows, c], target, firstRow: i * rows });
    });
    return target;
  }

  /** A vector of the checkpoint, followed by ones up to `total` elements, as one row of factors: [1, total] f32. */
  beforeOnes(name: string, n: number, total: number): Tensor {
    const target = this.storage.reserve('f32', [1, total]);
    this.#sources.push({ name, shape: [n], target, firstRow: 0 });
    this.#ones.push({ ...target, shape: [total - n], pitch: total - n, offset: target.offset + 4 * n });
    return target;
  }

  /** The checkpoint tensors that this model uses, by name. */
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
   * Allocates the storage and fills it. `others` are tensors of the component that belong to another network.
   * @throws SanaError ERR_SANA_MODEL listing missing, extra and misshapen tensors, or naming one with a NaN or
   *   infinity.
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
    this.storage.allocate();
    try {
      for (const tensor of this.#ones)
        await write(this.#device, tensor, new Float32Array(elements(tensor.shape)).fill(1));
      let loaded = 0;
      for (const [i, source] of this.#sources.entries()) {
        signal?.throwIfAborted();
        await this.#pack(component, source);
        loaded += sizes[i] ?? 0;
        onProgress?.({ loaded, total });
      }
    } catch (error) {
      this.storage.dispose();
      throw error;
    }
  }

  /**
   * The checkpoint tensors whose rows can be replaced, by name: matrices of [rows, columns], including 1x1
   * convolutions.
   */
  matrices(): Map<string, { readonly rows: number; readonly columns: number }> {
    const matrices = this.#sources.filter(({ target }) => target.layout === 'linear');
    return new Map(matrices.map(({ name, shape: [rows = 0], target }) => [name, { rows, columns: columnsOf(target) }]));
  }

  /** Reads rows `first`.. of a matrix, with the checkpoint's values, into `target`, [n, columns] f32. */
  async readRows(component: Component<unknown>, name: string, first: number, target: Tensor): Promise<void> {
    const { rows, rowElements, ...file } = this.#inFile(component, this.#source(name));
    const [n = 0] = target.shape;
    const rowBytes = rowElements * bytesPerElement(file.fileDtype);
    if (!(first >= 0 && first + n <= rows)) throw new Error(`${name} has no rows ${first} to ${first + n}`);
    const fileOffset = file.fileOffset + first * rowBytes;
    await this.#device.pack({ ...file, fileOffset, rows: n, rowElements, ...into(target, 0) });
  }

  /** Packs other values, [n, columns] f32, as rows `first`.. of a matrix; returns how many are NaN or infinite. */
  async replaceRows(name: string, first: number, data: Uint8Array): Promise<number> {
    const { shape, target, firstRow } = this.#source(name);
    const rowElements = columnsOf(target);
    const rows = data.byteLength / (4 * rowElements);
    if (!(first >= 0 && first + rows <= (shape[0] ?? 0))) throw new Error(`${name} has no rows ${first}..`);
    return await this.#device.pack({
      data,
      dataDtype: 'f32',
      rows,
      rowElements,
      ...into(target, firstRow + first),
    });
  }

  /** Packs a tensor with the checkpoint's values again: the same bits that `load` made. */
  async restore(component: Component<unknown>, name: string): Promise<void> {
    await this.#pack(component, this.#source(name));
  }

  dispose(): void {
    this.storage.dispose();
  }

  #source(name: string): Source {
    const source = this.#sources.find((candidate) => candidate.name === name);
    if (source === undefined) throw new Error(`the model takes no tensor ${name}`);
    return source;
  }

  /** The position of a tensor's rows in the checkpoint. */
  #inFile(component: Component<unknown>, { name, shape }: Source) {
    const entry = component.tensors.get(name);
    if (entry === undefined) throw new Error(`check() demands ${name}`);
    const rows = shape[0] ?? 1;
    return {
      file: component.file(entry),
      fileOffset: entry.offset,
      fileDtype: entry.dtype as DType, // check() lets f32, bf16 and f16 through
      rows,
      rowElements: elements(shape) / rows,
    };
  }

  async #pack(component: Component<unknown>, source: Source): Promise<void> {
    const rows = this.#inFile(component, source);
    const nonFinite = await this.#device.pack({ ...rows, ...into(source.target, source.firstRow) });
    if (nonFinite === 0) return;
    const { path } = rows.file;
    throw new SanaError('ERR_SANA_MODEL', `${path}: tensor ${source.name} holds ${nonFinite} NaN or infinite values`, {
      hint: 'The file is damaged or was saved from a failed training run: download it again or use another one.',
    });
  }
}

/** The part of a pack request that says where the rows go. */
function into(target: Tensor, firstRow: number): { buffer: NativeBuffer; target: Tensor; firstRow: number } {
  if (!(target.place instanceof Storage)) throw new Error('weights lie in a storage');
  return { buffer: target.place.buffer, target, firstRow };
}
