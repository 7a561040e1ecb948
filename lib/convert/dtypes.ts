/** Converts weights from one element type to another, rounding to nearest, ties to even. */

import type { WeightDType } from '../checkpoint/safetensors.ts';
import { widenF16 } from '../checkpoint/tensor-file.ts';

/** The result of `convertElements`: the bytes, and how many numbers were too large for the type. */
export interface Converted {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly overflows: number; // finite before, infinite now
}

/** Converts whole elements; `bytes` must start at an offset that is aligned to them. */
export function convertElements(bytes: Uint8Array<ArrayBuffer>, from: WeightDType, to: WeightDType): Converted {
  if (from === to) return { bytes, overflows: 0 };
  const wide = widen(bytes, from);
  if (to === 'f32') return { bytes: new Uint8Array(wide.buffer), overflows: 0 };
  const narrow = to === 'bf16' ? bf16Bits : f16Bits;
  const infinity = to === 'bf16' ? 0x7f80 : 0x7c00;
  const halves = new Uint16Array(wide.length);
  let overflows = 0;
  for (let i = 0; i < wide.length; i++) {
    const bits = wide[i] as number; // i < length
    const half = narrow(bits);
    halves[i] = half;
    if ((half & 0x7fff) === infinity && (bits & 0x7fffffff) !== 0x7f800000) overflows++;
  }
  return { bytes: new Uint8Array(halves.buffer), overflows };
}

/** The bits of the same numbers in f32. */
function widen(bytes: Uint8Array<ArrayBuffer>, from: WeightDType): Uint32Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = bytes;
  if (from === 'f32') return new Uint32Array(buffer, byteOffset, byteLength / 4);
  const halves = new Uint16Array(buffer, byteOffset, byteLength / 2);
  const out = new Uint32Array(halves.length);
  if (from === 'bf16') {
    for (let i = 0; i < halves.length; i++) out[i] = (halves[i] as number) << 16; // i < length
  } else {
    const table = f16Table();
    for (let i = 0; i < halves.length; i++) out[i] = table[halves[i] as number] as number; // 16 bits, 65536 entries
  }
  return out;
}

let table: Uint32Array | undefined;

/** Every f16 as f32. */
function f16Table(): Uint32Array {
  table ??= new Uint32Array(widenF16(Uint16Array.from({ length: 1 << 16 }, (_, i) => i)).buffer);
  return table;
}

/** bf16 is the upper half of f32. */
function bf16Bits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) | 0x40) & 0xffff; // NaN stays one
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function f16Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00; // NaN
  if (size >= 0x477ff000) return sign | 0x7c00; // 65520 and above
  const exponent = size >>> 23;
  if (exponent < 102) return sign; // below half of the smallest number
  if (exponent > 112) return sign | roundOff(size - (112 << 23), 13);
  return sign | roundOff((size & 0x7fffff) | 0x800000, 126 - exponent); // subnormal: multiples of 2^-24
}

/** value / 2^bits to the nearest integer. */
function roundOff(value: number, bits: number): number {
  const half = 1 << (bits - 1);
  const rest = value & ((1 << bits) - 1);
  const quotient = value >>> bits;
  return rest > half || (rest === half && (quotient & 1) === 1) ? quotient + 1 : quotient;
}
