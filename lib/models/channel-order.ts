/** Converts between channels-first tensors, which callers use, and channels-last ones, which the kernels use. */

import { argumentError } from '../base/errors.ts';
import type { TensorLike } from '../request/types.ts';

/** [B, C, H, W] -> [B, H, W, C], for one batch item or all of them. */
export function channelsLast(data: Float32Array, batch: number, channels: number, pixels: number): Float32Array {
  return transposed(data, batch, channels, pixels);
}

/** [B, H, W, C] -> [B, C, H, W]. */
export function channelsFirst(data: Float32Array, batch: number, channels: number, pixels: number): Float32Array {
  return transposed(data, batch, pixels, channels);
}

function transposed(data: Float32Array, batch: number, rows: number, columns: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let b = 0; b < batch; b++) {
    const base = b * rows * columns;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) out[base + c * rows + r] = data[base + r * columns + c] ?? 0;
    }
  }
  return out;
}

/** Checks a tensor that a caller passed: `shape` gives the size of each dimension, or -1 if any is allowed. */
export function checkTensor(name: string, tensor: TensorLike, shape: readonly number[]): readonly number[] {
  const wanted = `float32 of shape [${shape.map((size) => (size < 0 ? '*' : size)).join(', ')}]`;
  if (
    typeof tensor !== 'object' ||
    tensor === null ||
    !(tensor.data instanceof Float32Array) ||
    !Array.isArray(tensor.shape)
  ) {
    throw argumentError(name, `{ data: Float32Array, shape }, ${wanted}`, tensor);
  }
  const fits = tensor.shape.length === shape.length && shape.every((size, i) => size < 0 || size === tensor.shape[i]);
  const count = tensor.shape.reduce((product, size) => product * size, 1);
  if (!fits || count !== tensor.data.length || !tensor.shape.every((size) => Number.isInteger(size) && size > 0)) {
    throw argumentError(name, wanted, `[${tensor.shape.join(', ')}] with ${tensor.data.length} elements`);
  }
  return tensor.shape;
}

export function scaled(values: Float32Array, factor: number): Float32Array {
  return values.map((value) => value * factor);
}
