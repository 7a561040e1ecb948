/**
 * Was a transformer trained in fp16? SANA-1.0's fp16 checkpoints produce attention outputs beyond fp16's range, and
 * were trained with the clipping that fp16 arithmetic does. In another dtype they need that clipping too, and
 * bf16-trained ones must not have it (diffusers issues 10336, 10241). The released f32 files are such fp16 weights
 * widened, so the file's dtype does not tell, but the numbers do.
 */

import type { Component } from './checkpoint.ts';

const probe = 'transformer_blocks.0.attn1.to_out.0.weight';
const maxElements = 1 << 16;

export async function wasTrainedInFp16(component: Component<unknown>): Promise<boolean> {
  const entry = component.tensors.get(probe);
  if (entry === undefined || entry.dtype === 'bf16') return false;
  if (entry.dtype === 'f16') return true;
  const bytes = Math.min(entry.bytes, 4 * maxElements);
  const bits = new Uint32Array(await component.file(entry).read(entry.offset, bytes));
  return areFp16Numbers(bits);
}

/** Whether f32 numbers, by their bits, are widened fp16 numbers and not bf16 ones. */
export function areFp16Numbers(bits: Uint32Array): boolean {
  return bits.every(fitsFp16) && !bits.every((value) => (value & 0xffff) === 0);
}

/** Whether the f32 with these bits is exactly an fp16 number: 10 bits of mantissa, fewer for subnormals. */
function fitsFp16(bits: number): boolean {
  const exponent = ((bits >>> 23) & 0xff) - 127;
  const mantissa = bits & 0x7fffff;
  if (exponent === -127) return mantissa === 0;
  if (exponent > 15 || exponent < -24) return false;
  const dropped = exponent >= -14 ? 13 : 13 + (-14 - exponent);
  return dropped > 23 ? mantissa === 0 : (mantissa & ((1 << dropped) - 1)) === 0;
}
