/** The system resources of this process, according to Linux; undefined elsewhere. */

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';

export interface Resources {
  readonly descriptors: number;
  readonly threads: number;
}

export function resources(): Resources | undefined {
  if (process.platform !== 'linux') return undefined;
  // Reading the folder takes a descriptor itself, always the same one.
  return { descriptors: readdirSync('/proc/self/fd').length, threads: readdirSync('/proc/self/task').length };
}

/** Resources once they have not changed for a while: threads take some time to end. */
export async function steadyResources(): Promise<Resources | undefined> {
  let last = resources();
  for (let same = 0; same < 20; ) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const now = resources();
    same = now?.threads === last?.threads && now?.descriptors === last?.descriptors ? same + 1 : 0;
    last = now;
  }
  return last;
}

/** Waits for threads to end, and fails when more is held than was `before`. */
export async function assertNoMoreThan(before: Resources | undefined, patienceMs = 5000): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const now = resources();
    if (now === undefined || before === undefined) return;
    if (now.descriptors <= before.descriptors && now.threads <= before.threads) return;
    if (performance.now() > deadline) assert.deepEqual(now, before);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Resident bytes after a collection of garbage. */
export function residentBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage.rss();
}
