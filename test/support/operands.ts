/** Operands of operators in tests: their shapes, the values they hold, and those values as bytes. */

import assert from 'node:assert/strict';
import type { DType, Layout } from '../../lib/native.ts';
import { Random } from './random.ts';

export type Activation = 'f32' | 'bf16';

export interface Operand {
  readonly dtype: Exclude<DType, 'f16'>;
  readonly shape: readonly number[];
  /** Row-major, values that the dtype holds; packed layouts: in the checkpoint's order. Absent: written only. */
  readonly data?: Float32Array;
  readonly layout?: Layout;
  /** The operand is the columns from `first` of a tensor of `of` columns. */
  readonly columns?: { readonly first: number; readonly of: number };
  /** Rows of the checkpoint tensors that a packed operand is stacked from (default: one tensor), and their dtype. */
  readonly parts?: readonly number[];
  readonly stored?: 'f32' | 'bf16' | 'f16';
}

export const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
export const bytesOf = { f32: 4, bf16: 2, i32: 4, u8: 1 } as const;

/** The nearest bf16 (halves to even) of every value, as float32. */
export function roundToBf16(values: ArrayLike<number>): Float32Array {
  const rounded = Float32Array.from(values);
  const bits = new Uint32Array(rounded.buffer);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i] as number; // i < length
    if (!Number.isNaN(rounded[i])) bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  }
  return rounded;
}

export function rounded(values: ArrayLike<number>, dtype: Operand['dtype']): Float32Array {
  return dtype === 'bf16' ? roundToBf16(values) : Float32Array.from(values);
}

export function encode(values: Float32Array, dtype: Operand['dtype']): Uint8Array {
  if (dtype === 'f32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  assert.equal(dtype, 'bf16');
  const halves = new Uint16Array(values.length);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < halves.length; i++) halves[i] = (words[i] as number) >>> 16; // as long
  return new Uint8Array(halves.buffer);
}

export function decode(bytes: Uint8Array, dtype: Operand['dtype']): Float32Array | Int32Array | Uint8Array {
  const { buffer } = Uint8Array.from(bytes); // aligned
  if (dtype === 'f32') return new Float32Array(buffer);
  if (dtype === 'i32') return new Int32Array(buffer);
  if (dtype === 'u8') return new Uint8Array(buffer);
  const halves = new Uint16Array(buffer);
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) words[i] = (halves[i] as number) << 16; // as long
  return new Float32Array(words.buffer);
}

/** Operands of random values, of one activation dtype. */
export class Maker {
  readonly dtype: Activation;
  readonly random: Random;

  constructor(dtype: Activation, seed = 1) {
    this.dtype = dtype;
    this.random = new Random(seed);
  }

  /** The other activation dtype. */
  get other(): Activation {
    return this.dtype === 'f32' ? 'bf16' : 'f32';
  }

  activation(shape: readonly number[], options: Partial<Operand> & { scale?: number } = {}): Operand & Given {
    const { scale = 1, ...rest } = options;
    const { dtype = this.dtype } = rest;
    return { ...rest, dtype, shape, data: rounded(this.random.uniform(count(shape), scale), dtype) };
  }

  /** f32 whatever the activations. */
  vector(shape: readonly number[], scale = 1): Operand & Given {
    return this.activation(shape, { dtype: 'f32', scale });
  }

  out(shape: readonly number[], options: Partial<Operand> = {}): Operand {
    return { dtype: this.dtype, ...options, shape };
  }
}

export interface Given {
  readonly data: Float32Array;
}

/** Values that are f16 numbers, as f16. */
export function encodeF16(values: Float32Array): Uint8Array {
  const halves = Uint16Array.from(values, (value) => {
    const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
    const size = Math.abs(value);
    if (Number.isNaN(size)) return 0x7e00;
    if (size === Number.POSITIVE_INFINITY) return sign | 0x7c00;
    const exponent = Math.max(-14, size === 0 ? -14 : Math.floor(Math.log2(size)));
    const fraction = size / 2 ** (exponent - 10); // 1024..2047, or less when subnormal
    assert(Number.isInteger(fraction) && fraction < 2048 && exponent <= 15, `${value} is no f16`);
    return sign | (fraction < 1024 ? fraction : ((exponent + 15) << 10) | (fraction - 1024));
  });
  return new Uint8Array(halves.buffer);
}
