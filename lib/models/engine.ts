/** What the parts of a pipeline share: the device, the arena, and the check that a plan fits before it starts. */

import { SanaError } from '../base/errors.ts';
import type { DeviceLease } from '../device/devices.ts';
import type { NativeDevice } from '../device/native.ts';
import { Arena, type CallProfile, type Program } from '../graph/program.ts';

/** A program that ran, with the time of each of its operators. */
export interface ProfiledProgram {
  readonly name: string;
  readonly operators: readonly CallProfile[];
}

export class Engine {
  readonly device: NativeDevice;
  readonly arena: Arena;
  readonly #lease: DeviceLease;
  #profiles: ProfiledProgram[] | undefined;

  constructor(lease: DeviceLease) {
    this.#lease = lease;
    this.device = lease.native;
    this.arena = new Arena(lease.native);
  }

  get deviceId(): string {
    return this.#lease.id;
  }

  /** What the device holds besides all buffers. */
  get workspaceBytes(): number {
    return this.#lease.workspaceBytes;
  }

  /** How much memory intermediates and other buffers may use now: what is free, plus the arena. */
  get spareBytes(): number {
    return this.#lease.freeBytes() + this.arena.bytes;
  }

  /**
   * Fails before work starts if `bytes` more than is allocated now do not fit.
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

  /** Runs a program on the shared arena; inside `profile`, times every operator. */
  async run(program: Program, signal?: AbortSignal): Promise<void> {
    if (this.#profiles === undefined) await program.run(this.arena, signal);
    else this.#profiles.push({ name: program.plan.name, operators: await program.profile(this.arena, signal) });
  }

  /** The programs that `body` runs, in order, with the time of every operator. */
  async profile(body: () => Promise<unknown>): Promise<ProfiledProgram[]> {
    const profiles: ProfiledProgram[] = [];
    this.#profiles = profiles;
    try {
      await body();
    } finally {
      this.#profiles = undefined;
    }
    return profiles;
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
