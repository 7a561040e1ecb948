/**
 * The least time a piece of work can take on a machine: the larger of its FLOPs over the peak and its bytes over the
 * memory bandwidth. A time is good or bad relative to this floor, whatever the machine. The ceilings are measured by
 * the device itself (`NativeDevice.ceilings`): register-only multiply-adds and a large copy, on all its threads.
 */

import type { DTypeName } from '../pipeline/types.ts';

/** What a device does at most. */
export interface Ceilings {
  readonly f32Flops: number; // per second
  readonly bf16Flops: number; // per second, with f32 accumulation
  readonly bytesPerSecond: number; // read plus written
}

/** What products are of, as far as the machine's peak depends on it. */
export type RooflineDtype = 'f32' | 'bf16' | 'i8';

/**
 * That of a pipeline: f16 is as fast as bf16, f8 as i8. Not all products of one in int8 are of i8: it takes longer than the floor
 * says.
 */
export function rooflineDtype(dtype: DTypeName): RooflineDtype {
  return ({ float32: 'f32', bfloat16: 'bf16', float16: 'bf16', int8: 'i8', fp8: 'i8' } as const)[dtype];
}

/** Work of one run: floating-point operations (2 per multiply-add) and least bytes moved to and from memory. */
export interface OperatorWork {
  readonly flops: number;
  readonly bytes: number;
}

/** Milliseconds that `work` takes at the ceilings, whichever binds. */
export function floorMs(work: OperatorWork, dtype: RooflineDtype, ceilings: Ceilings): number {
  // Twice as many bytes fit into an instruction as bf16. Where there is none for bytes, less than that can be done.
  const flops = { f32: ceilings.f32Flops, bf16: ceilings.bf16Flops, i8: 2 * ceilings.bf16Flops }[dtype];
  return 1000 * Math.max(work.flops / flops, work.bytes / ceilings.bytesPerSecond);
}

/** The floor of a sequence: each part is bound by its own ceiling, so floors add up; sums of work do not. */
export function totalFloorMs(parts: readonly OperatorWork[], dtype: RooflineDtype, ceilings: Ceilings): number {
  return parts.reduce((sum, part) => sum + floorMs(part, dtype, ceilings), 0);
}
