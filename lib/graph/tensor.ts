/** Tensors: what a graph's operators read and write, and where their elements are stored. */

import { bytesPerElement, type DType } from '../base/dtypes.ts';
import { SanaError } from '../base/errors.ts';
import type { Layout } from '../device/layouts.ts';
import type { NativeBuffer, NativeDevice } from '../device/native.ts';

export type { DType } from '../base/dtypes.ts';
export type { Layout } from '../device/layouts.ts';

/** Alignment of every tensor inside its storage or arena: a cache line, and the widest vector register. */
export const alignment = 64;

/**
 * A tensor: dtype, logical shape, and where it is stored. Row-major; `pitch` is the distance in elements between rows
 * of the last dimension. It is larger than that dimension if the tensor is a range of columns of a wider one.
 */
export interface Tensor {
  readonly dtype: DType;
  readonly layout: Layout;
  readonly shape: readonly number[];
  readonly pitch: number;
  readonly place: Storage | ArenaValue;
  /** Bytes from the start of the place. */
  readonly offset: number;
}

/** An intermediate of a graph. The planner assigns it a place in the arena for as long as it is needed. */
export class ArenaValue {
  readonly bytes: number;

  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

/**
 * Device memory that outlives a run: packed weights, latents, keys and values. Tensors are reserved first, so that the
 * size is known before anything is allocated; then `allocate` allocates it as one buffer.
 */
export class Storage {
  readonly name: string;
  readonly #device: NativeDevice;
  #bytes = 0;
  #buffer: NativeBuffer | undefined;

  constructor(device: NativeDevice, name: string) {
    this.#device = device;
    this.name = name;
  }

  /** Bytes reserved so far. */
  get bytes(): number {
    return this.#bytes;
  }

  get allocated(): boolean {
    return this.#buffer !== undefined;
  }

  get buffer(): NativeBuffer {
    if (this.#buffer === undefined) {
      throw new SanaError('ERR_SANA_PROGRAM', `The memory of "${this.name}" is not allocated`, {
        hint: 'Allocate a storage before compiling programs that use it.',
      });
    }
    return this.#buffer;
  }

  reserve(dtype: DType, shape: readonly number[], layout: Layout = 'dense'): Tensor {
    if (this.#buffer !== undefined) throw new Error(`Storage "${this.name}" is already allocated`);
    const offset = this.#bytes;
    this.#bytes = align(offset + this.#device.tensorBytes(dtype, layout, shape));
    return { dtype, layout, shape, pitch: shape[shape.length - 1] ?? 1, place: this, offset };
  }

  allocate(): this {
    this.#buffer ??= this.#device.allocate(Math.max(this.#bytes, alignment));
    return this;
  }

  dispose(): void {
    this.#buffer?.dispose();
    this.#buffer = undefined;
  }
}

export function align(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Bytes of a dense tensor's own elements (not of the wider tensor that it may be a part of). */
export function denseBytes(tensor: Pick<Tensor, 'dtype' | 'shape'>): number {
  return elements(tensor.shape) * bytesPerElement(tensor.dtype);
}

export function columnsOf(tensor: Tensor): number {
  return tensor.shape[tensor.shape.length - 1] ?? 1;
}

export function isContiguous(tensor: Tensor): boolean {
  return tensor.pitch === columnsOf(tensor);
}

/** Columns `first .. first + count - 1` of the last dimension, without a copy. */
export function columns(tensor: Tensor, first: number, count: number): Tensor {
  if (tensor.layout !== 'dense' || first < 0 || count < 1 || first + count > columnsOf(tensor)) {
    throw shapeError(`columns ${first}..${first + count - 1} of ${describe(tensor)} do not exist`);
  }
  return {
    ...tensor,
    shape: [...tensor.shape.slice(0, -1), count],
    offset: tensor.offset + first * bytesPerElement(tensor.dtype),
  };
}

/** Entries `first .. first + count - 1` of the first dimension, without a copy. */
export function rows(tensor: Tensor, first: number, count: number): Tensor {
  const [size = 0, ...rest] = tensor.shape;
  if (tensor.layout !== 'dense' || rest.length === 0 || first < 0 || count < 1 || first + count > size) {
    throw shapeError(`rows ${first}..${first + count - 1} of ${describe(tensor)} do not exist`);
  }
  const stride = elements(rest.slice(0, -1)) * tensor.pitch * bytesPerElement(tensor.dtype);
  return { ...tensor, shape: [count, ...rest], offset: tensor.offset + first * stride };
}

/** Entry `index` of the first dimension: a tensor with one dimension less. */
export function entry(tensor: Tensor, index: number): Tensor {
  const one = rows(tensor, index, 1);
  return { ...one, shape: one.shape.slice(1) };
}

/** The same elements with another shape. The last dimension may change only if the tensor is contiguous. */
export function reshape(tensor: Tensor, shape: readonly number[]): Tensor {
  const last = shape[shape.length - 1] ?? 1;
  if (
    tensor.layout !== 'dense' ||
    elements(shape) !== elements(tensor.shape) ||
    (last !== columnsOf(tensor) && !isContiguous(tensor))
  ) {
    throw shapeError(`${describe(tensor)} cannot be reshaped to [${shape.join(', ')}]`);
  }
  return { ...tensor, shape, pitch: last === columnsOf(tensor) ? tensor.pitch : last };
}

/** `f32 [2, 256, 1152]`, for messages. */
export function describe(tensor: Pick<Tensor, 'dtype' | 'shape' | 'layout'>): string {
  const layout = tensor.layout === 'dense' ? '' : ` ${tensor.layout}`;
  return `${tensor.dtype}${layout} [${tensor.shape.join(', ')}]`;
}

export function shapeError(message: string): SanaError {
  return new SanaError('ERR_SANA_SHAPE', message, {
    hint: 'Pass tensors whose shapes fit; lib/graph/operators/ documents the operands of each operator.',
  });
}
