/** The NVIDIA driver of this machine, as described by files of the system: none of its code is run. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { environmentVariable } from '../../base/environment.ts';

export interface Driver {
  /** `580.65.06`; absent if the system does not show it, as under WSL. */
  readonly version?: string;
  /** Names of the cards that the driver lists. */
  readonly cards: readonly string[];
  /** Everything that may decide whether the driver works: the key under which the result of a probe is kept. */
  readonly identity: string;
}

const FOLDER = '/proc/driver/nvidia';
/** The device files of the Linux driver and of the one for WSL. */
const DEVICES = ['/dev/nvidiactl', '/dev/dxg'];

/** The driver, or undefined if there is none. */
export function findDriver(): Driver | undefined {
  if (!DEVICES.some((device) => existsSync(device))) return undefined;
  const text = read(join(FOLDER, 'version'));
  const version = /Kernel Module[^\n]*?\s(\d+(?:\.\d+)+)\s/.exec(text)?.[1];
  const information = list(join(FOLDER, 'gpus')).map((card) => read(join(FOLDER, 'gpus', card, 'information')));
  const cards = information.map((card) => /^Model:\s*(.+)$/m.exec(card)?.[1]?.trim() ?? 'unknown');
  const variables = (['CUDA_VISIBLE_DEVICES', 'NVIDIA_VISIBLE_DEVICES', 'LD_LIBRARY_PATH'] as const).map(
    (name) => environmentVariable(name) ?? '',
  );
  const identity = [text, ...information, release(), ...variables];
  return { ...(version !== undefined && { version }), cards, identity: identity.join('\n') };
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
