/** Operands of operators in tests: their shapes, their values, and the values as bytes. */

import assert from 'node:assert/strict';
import type { DType, Layout } from '../../lib/device/native.ts';
import { Random } from './random.ts';

export type Activation = 'f32' | 'bf16' | 'f16';

export interface Operand {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Row-major, values that the dtype can represent; packed layouts: in the checkpoint's order. Absent: only written. */
  readonly data?: Float32Array;
  readonly layout?: Layout;
  /** The operand is the columns from `first` of a tensor of `of` columns. */
  readonly columns?: { readonly first: number; readonly of: number };
  /** Rows of the checkpoint tensors that a packed operand is stacked from (default: one tensor), and their dtype. */
  readonly parts?: readonly number[];
  readonly stored?: 'f32' | 'bf16' | 'f16';
}

export const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

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

const double = new Float64Array(1);
const doubleWords = new Uint32Array(double.buffer); // little-endian: the exponent is in the second

/** Units of the last place of f16 in 1, by exponent from -14 to 15. */
const stepsPerUnit = Float64Array.from({ length: 30 }, (_, i) => 2 ** (24 - i));

/** The bits of the nearest f16 (halves to even); beyond 65504 infinity. */
function f16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(size)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  double[0] = size;
  const exponent = Math.max(0, ((doubleWords[1] as number) >>> 20) - 1023 + 14); // from the least, -14
  const steps = size * (stepsPerUnit[exponent] as number); // 1024..2048, or less when subnormal
  const down = Math.floor(steps);
  const half = steps - down;
  const fraction = half > 0.5 || (half === 0.5 && down % 2 === 1) ? down + 1 : down;
  return sign | ((exponent << 10) + fraction); // a fraction of 1024 or more counts the exponent up by itself
}

/** What each of the 65536 f16 stands for. */
const f16Values = Float32Array.from({ length: 1 << 16 }, (_, bits) => {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction > 0 ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return (sign * (exponent === 0 ? fraction : (1024 + fraction) * 2 ** (exponent - 1))) / 2 ** 24;
});

export function rounded(values: ArrayLike<number>, dtype: Operand['dtype']): Float32Array {
  if (dtype === 'bf16') return roundToBf16(values);
  const result = Float32Array.from(values);
  if (dtype !== 'f16') return result;
  // Of the values, not of the float32 that they were rounded to.
  for (let i = 0; i < result.length; i++) result[i] = f16Values[f16Bits(values[i] as number)] as number;
  return result;
}

export function encode(values: Float32Array, dtype: Operand['dtype']): Uint8Array {
  if (dtype === 'f32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const halves = new Uint16Array(values.length);
  if (dtype === 'f16') {
    for (let i = 0; i < halves.length; i++) halves[i] = f16Bits(values[i] as number); // as long
    return new Uint8Array(halves.buffer);
  }
  assert.equal(dtype, 'bf16');
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
  if (dtype === 'f16') {
    const values = new Float32Array(halves.length);
    for (let i = 0; i < halves.length; i++) values[i] = f16Values[halves[i] as number] as number; // as long
    return values;
  }
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
    return this.dtype === 'f32' ? 'bf16' : 'f32'; // f16 with f32 too
  }

  activation(shape: readonly number[], options: Partial<Operand> & { scale?: number } = {}): Operand & Given {
    const { scale = 1, ...rest } = options;
    const { dtype = this.dtype } = rest;
    return { ...rest, dtype, shape, data: rounded(this.random.uniform(count(shape), scale), dtype) };
  }

  /** f32 for every dtype of the activations. */
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
