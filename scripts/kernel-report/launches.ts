/**
 * How the emulation launched kernels: it appends a line to the file named by SIMT_TRACE for every kernel
 * and launch shape, `<address in the library> <threads of a block> <bytes of dynamic shared memory>`.
 */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { demangle } from './resources.ts';

export interface Launch {
  readonly threads: number;
  /** The largest dynamic shared memory that it was launched with. */
  readonly sharedBytes: number;
}

/** The launches of every kernel by name; undefined if the emulation is not built or left no trace. */
export function launchesOf(library: string, trace = `${library}.trace`): Map<string, Launch> | undefined {
  if (!existsSync(library) || !existsSync(trace)) return undefined;
  const listing = execFileSync('nm', [library], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const symbols = new Map<number, string>();
  for (const line of listing.split('\n')) {
    const [, address, name] = /^([0-9a-f]+) [tTwW] (\S+)$/.exec(line) ?? [];
    if (address !== undefined && name !== undefined) symbols.set(Number.parseInt(address, 16), name);
  }
  const names = demangle([...new Set(symbols.values())]);
  const launches = new Map<string, Launch>();
  for (const line of new Set(readFileSync(trace, 'utf8').trimEnd().split('\n'))) {
    const [address = '', threads = '', sharedBytes = ''] = line.split(' ');
    const name = names.get(symbols.get(Number.parseInt(address, 16)) ?? '');
    if (name === undefined) continue; // of another build of the library
    const before = launches.get(name);
    launches.set(name, {
      threads: Math.max(Number(threads), before?.threads ?? 0),
      sharedBytes: Math.max(Number(sharedBytes), before?.sharedBytes ?? 0),
    });
  }
  return launches;
}
