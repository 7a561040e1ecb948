/**
 * One process at a time downloads a file: a lock file with who holds it, touched again and again while it is held.
 *
 * It only saves downloading twice. Nothing breaks where it does not hold, on a network disk for one: whoever writes
 * into a partial file writes the same bytes at the same places (blob.ts), and what is whole is renamed.
 *
 * A holder that is gone is found out at once on the same machine, by its process id, and elsewhere when the file has
 * not been touched for `STALE_MS` of the waiting process's own time, so clocks need not agree.
 */

import { randomUUID } from 'node:crypto';
import { readFile, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';

const HEARTBEAT_MS = 5000;
const STALE_MS = 30_000;
const POLL_MS = 100;

interface Holder {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  readonly thread: number;
}

/** The locks that this thread holds, by id: one with its process id that is none of these is of a process before. */
const held = new Set<string>();

/**
 * Runs `work` while this process alone holds the lock at `path`. `waiting` is called while another one does, again and
 * again; an error that it throws ends the wait.
 */
export async function withLock<T>(
  path: string,
  signal: AbortSignal,
  waiting: () => Promise<void>,
  work: () => Promise<T>,
): Promise<T> {
  const me: Holder = { id: randomUUID(), host: hostname(), pid: process.pid, thread: threadId };
  const text = JSON.stringify(me);
  held.add(me.id);
  try {
    await acquire(path, text, signal, waiting);
    const heartbeat = setInterval(() => void touch(path), HEARTBEAT_MS);
    heartbeat.unref();
    try {
      return await work();
    } finally {
      clearInterval(heartbeat);
      if ((await read(path)) === text) await unlink(path).catch(() => {});
    }
  } finally {
    held.delete(me.id);
  }
}

async function acquire(path: string, text: string, signal: AbortSignal, waiting: () => Promise<void>): Promise<void> {
  let seen = { text: '', touched: 0, since: performance.now() };
  for (;;) {
    signal.throwIfAborted();
    try {
      return await writeFile(path, text, { flag: 'wx' });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    }
    const now = { text: await read(path), touched: await touchedAt(path), since: performance.now() };
    if (now.text !== seen.text || now.touched !== seen.touched) seen = now;
    if (isGone(now.text) || performance.now() - seen.since > STALE_MS) {
      // Still the same one, then away with it. Two that do this at once may both go on, which costs a download.
      if ((await read(path)) === now.text) await unlink(path).catch(() => {});
      continue;
    }
    await waiting();
    await sleep(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}

/** Whether the holder cannot be alive any more. */
function isGone(text: string): boolean {
  const holder = parse(text);
  if (holder === null || holder.host !== hostname()) return false;
  // A container that was killed comes back under the same name, with the same process ids.
  if (holder.pid === process.pid) return holder.thread === threadId && !held.has(holder.id);
  try {
    process.kill(holder.pid, 0); // asks, does nothing
    return false;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function parse(text: string): Holder | null {
  try {
    const holder: Partial<Holder> | null = JSON.parse(text);
    return typeof holder?.id === 'string' && Number.isSafeInteger(holder.pid) && (holder.pid ?? 0) > 0
      ? (holder as Holder)
      : null;
  } catch {
    return null; // being written
  }
}

const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
const touchedAt = async (path: string): Promise<number> => (await stat(path).catch(() => null))?.mtimeMs ?? 0;

async function touch(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => {});
}
