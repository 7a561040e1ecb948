/**
 * The least time a piece of work can take on a machine: the larger of its FLOPs over the peak and its bytes over the
 * memory bandwidth. A time is good or bad relative to this floor, whatever the machine.
 *
 * The ceilings are given, not measured here: a copy loop in JavaScript reaches a fraction of the memory bandwidth and
 * no vector unit at all. Take them from tools on an idle machine (STREAM or a large memcpy for `gbps`, a register-only
 * FMA loop for `f32Gflops` and `bf16Gflops`, both over all cores used) and pass them on the command line:
 *
 *   --peak-f32 500 --peak-bf16 1000 --bandwidth 42
 */

import type { Command } from 'commander';
import { argumentError } from '../../lib/errors.ts';

export interface Ceilings {
  readonly f32Gflops: number; // GFLOP/s of fused multiply-adds in f32
  readonly bf16Gflops: number; // of bf16 dot products with f32 accumulation
  readonly gbps: number; // GB/s, bytes read plus bytes written
}

/**
 * Two cores of a Zen 4 or 5 server with AVX512-BF16, as measured with oneDNN convolutions and a large copy: the least
 * machine the CPU backend is tuned on. On anything else, pass your own: percentages against these mean nothing there.
 */
export const defaultCeilings: Ceilings = { f32Gflops: 500, bf16Gflops: 1000, gbps: 42 };

/** Adds the ceilings to a command line; `ceilingsOf` reads them back. */
export function addCeilingOptions(program: Command): Command {
  const { f32Gflops, bf16Gflops, gbps } = defaultCeilings;
  return program
    .option('--peak-f32 <gflops>', 'peak of f32 arithmetic on the cores used, GFLOP/s', Number, f32Gflops)
    .option('--peak-bf16 <gflops>', 'peak of bf16 dot products, GFLOP/s', Number, bf16Gflops)
    .option('--bandwidth <gbps>', 'memory bandwidth, GB/s read plus written', Number, gbps);
}

export function ceilingsOf(options: { peakF32: number; peakBf16: number; bandwidth: number }): Ceilings {
  return checked({ f32Gflops: options.peakF32, bf16Gflops: options.peakBf16, gbps: options.bandwidth });
}

function checked(ceilings: Ceilings): Ceilings {
  for (const [name, value] of Object.entries(ceilings)) {
    if (!(value > 0 && value < Number.POSITIVE_INFINITY))
      throw argumentError(name, 'a finite number above zero', value);
  }
  return ceilings;
}

/** Work of one run: floating-point operations (2 per multiply-add) and least bytes moved to and from memory. */
export interface OperatorWork {
  readonly flops: number;
  readonly bytes: number;
}

/** Milliseconds that `work` takes at the ceilings, whichever binds. */
export function floorMs(work: OperatorWork, dtype: 'f32' | 'bf16', ceilings: Ceilings): number {
  checked(ceilings);
  const gflops = dtype === 'f32' ? ceilings.f32Gflops : ceilings.bf16Gflops;
  return 1000 * Math.max(work.flops / (gflops * 1e9), work.bytes / (ceilings.gbps * 1e9));
}

/** The floor of a sequence: each part is bound by its own ceiling, so floors add up; sums of work do not. */
export function totalFloorMs(parts: readonly OperatorWork[], dtype: 'f32' | 'bf16', ceilings: Ceilings): number {
  return parts.reduce((sum, part) => sum + floorMs(part, dtype, ceilings), 0);
}
