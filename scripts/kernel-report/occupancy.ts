/** Occupancy of a multiprocessor, from the limits in the CUDA C++ Programming Guide, "Compute Capabilities". */

export interface Architecture {
  readonly warps: number;
  readonly blocks: number;
  readonly sharedBytes: number;
}

const KB = 1024;
const registersPerMultiprocessor = 65536;
const registersPerWarpStep = 256; // registers are allocated to a warp in units of this
const reservedSharedBytes = KB; // per block, for the system

export const architectures: Readonly<Record<string, Architecture>> = {
  80: { warps: 64, blocks: 32, sharedBytes: 164 * KB },
  86: { warps: 48, blocks: 16, sharedBytes: 100 * KB },
  89: { warps: 48, blocks: 24, sharedBytes: 100 * KB },
  '90a': { warps: 64, blocks: 32, sharedBytes: 228 * KB },
  100: { warps: 64, blocks: 32, sharedBytes: 228 * KB },
  120: { warps: 48, blocks: 24, sharedBytes: 100 * KB },
};

/** Warps of a kernel that are resident on a multiprocessor at a time. */
export function occupancy(machine: Architecture, registers: number, threads: number, sharedBytes: number): number {
  const warps = Math.ceil(threads / 32);
  const registersPerWarp = Math.ceil((registers * 32) / registersPerWarpStep) * registersPerWarpStep;
  const byRegisters = Math.floor(Math.floor(registersPerMultiprocessor / registersPerWarp) / warps);
  const byShared = Math.floor(machine.sharedBytes / (sharedBytes + reservedSharedBytes));
  return warps * Math.min(byRegisters, byShared, machine.blocks, Math.floor(machine.warps / warps));
}
