/** Which of the released models fit on a device. */

import type { DeviceInfo } from '../device/devices.ts';
import type { Needed } from './memory-needed.ts';
import { RELEASED_MEMORY } from './released-memory.ts';

export interface Fit {
  /** Repositories with models of these dimensions. */
  readonly repositories: readonly string[];
  /** Pixels per side that they were trained for. */
  readonly size: number;
  /** The first value of `offload` with which one picture fits into the free memory; null if none does. */
  readonly offload: 'none' | 'sequential' | null;
  /** GB that it then needs, or would need. */
  readonly gigabytes: number;
  /** The same with dtype 'int8'. */
  readonly int8: Pick<Fit, 'offload' | 'gigabytes'>;
}

export function fitsOf(device: DeviceInfo): Fit[] {
  const within = (needed: Needed) => {
    const offload = (['none', 'sequential'] as const).find((way) => needed[way] * 1e9 <= device.freeBytes) ?? null;
    return { offload, gigabytes: needed[offload ?? 'sequential'] };
  };
  return RELEASED_MEMORY.map(({ repositories, size, int8, [device.dtype]: needed }) => {
    return { repositories, size, ...within(needed), int8: within(int8) };
  });
}
