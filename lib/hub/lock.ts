/**
 * One process at a time downloads a file: a lock file names the holder, who touches it regularly while holding it.
 *
 * It only avoids downloading twice. Nothing breaks if it does not hold, for example on a network disk: all writers of a
 * partial file write the same bytes at the same places (blob.ts), and complete files are renamed.
 *
 * A dead holder is detected at once on the same machine, by its process id, and elsewhere when the file has not been
 * touched for `STALE_MS` by the waiting process's own clock, so clocks need not agree.
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

/**
 * The locks that this thread holds, by id. A lock with this process's id that is not among them belongs to an earlier
 * process.
 */
const held = new Set<string>();

/**
 * Runs `work` while only this process holds the lock at `path`. While another one holds it, `waiting` is called
 * repeatedly; an error that it throws ends the wait.
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
      // It is still the same lock: remove it. Two processes that do this at once may both continue, which costs one
      // download.
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
  // A container that was killed comes back with the same host name and the same process ids.
  if (holder.pid === process.pid) return holder.thread === threadId && !held.has(holder.id);
  try {
    process.kill(holder.pid, 0); // only checks that it exists
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
