/**
 * The minimum time that a piece of work can take on a machine: the larger of its FLOPs over the peak and its bytes over
 * the memory bandwidth. A time is good or bad relative to this floor, whatever the machine. The device itself measures
 * the ceilings (`NativeDevice.ceilings`): register-only multiply-adds and a large copy, on all its threads.
 */

/** The peak rates of a device. */
export interface Ceilings {
  readonly f32Flops: number; // per second
  readonly bf16Flops: number; // per second, with f32 accumulation; of f16 as well
  readonly i8Flops: number; // per second, with i32 accumulation; of f8 as well
  readonly bytesPerSecond: number; // read plus written
}

/** Work of one run: operations (2 per multiply-add), their dtype, and the minimum bytes moved to and from memory. */
export interface OperatorWork {
  readonly dtype: string;
  readonly flops: number;
  readonly bytes: number;
}

/** Milliseconds that `work` takes at the ceilings, whichever limits. */
export function floorMs(work: OperatorWork, ceilings: Ceilings): number {
  const { f32Flops, bf16Flops, i8Flops } = ceilings;
  const peaks: Readonly<Record<string, number>> = { bf16: bf16Flops, f16: bf16Flops, i8: i8Flops, f8: i8Flops };
  return 1000 * Math.max(work.flops / (peaks[work.dtype] ?? f32Flops), work.bytes / ceilings.bytesPerSecond);
}

/** The floor of a sequence. Each part is limited by its own ceiling, so floors can be added, but work cannot. */
export function totalFloorMs(parts: readonly OperatorWork[], ceilings: Ceilings): number {
  return parts.reduce((sum, part) => sum + floorMs(part, ceilings), 0);
}
