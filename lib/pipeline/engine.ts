/** What the parts of a pipeline share: the device, the arena, and the check that a plan fits before it starts. */

import { SanaError } from '../errors.ts';
import { Arena } from '../graph/program.ts';
import type { NativeDevice } from '../native.ts';
import type { DeviceLease } from '../runtime/devices.ts';

export type ComputeDtype = 'f32' | 'bf16';

export class Engine {
  readonly device: NativeDevice;
  readonly arena: Arena;
  readonly #lease: DeviceLease;

  constructor(lease: DeviceLease) {
    this.#lease = lease;
    this.device = lease.native;
    this.arena = new Arena(lease.native);
  }

  get deviceId(): string {
    return this.#lease.id;
  }

  /**
   * Fails before work starts when `bytes` more than is allocated now do not fit.
   * @throws SanaError ERR_SANA_MEMORY with what is needed, what is free, and what to do.
   */
  demandMemory(bytes: number, what: string, hint: string): void {
    const free = this.#lease.freeBytes();
    if (bytes <= free) return;
    throw new SanaError(
      'ERR_SANA_MEMORY',
      `${what} needs ${formatBytes(bytes)} of memory and ${this.deviceId} has ${formatBytes(free)} free`,
      { hint },
    );
  }

  dispose(): void {
    this.arena.dispose();
    this.#lease.release();
  }
}

/** `1.53 GB`, `12.0 MB`: decimal units, three digits. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}
