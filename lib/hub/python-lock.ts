/**
 * The lock that Python's huggingface_hub takes: `flock(2)` on a file that stays. Node.js has no such call, but a child
 * process can hold it: flock(1) of util-linux or busybox, around a `cat` that lives as long as our end of its pipe, so
 * it ends however we end. Without flock(1), Python and we may download the same file at the same time. That is only
 * slow: both write under separate names, or the same bytes at the same places, and rename.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open } from 'node:fs/promises';

/** Runs `work` while holding Python's lock at `path`, if possible. */
export async function withPythonLock<T>(path: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const release = await hold(path, signal);
  try {
    return await work();
  } finally {
    release();
  }
}

async function hold(path: string, signal: AbortSignal): Promise<() => void> {
  if (process.platform === 'win32') return () => {};
  // With Python's own permissions, for others who share the cache.
  await (await open(path, 'a', 0o664)).close();
  const child = spawn('flock', ['-x', path, 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const release = () => {
    child.stdin.destroy();
    child.kill();
  };
  child.stdin.on('error', () => {}); // it may be gone already
  const gone = new Promise<void>((done) => {
    child.once('error', () => done()); // there is no flock(1)
    child.once('close', () => done()); // or no flock(2) on this disk
  });
  const aborted = new AbortController();
  const abort = () => aborted.abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    child.stdin.write('\n'); // comes back when cat runs, which is when the lock is held
    await Promise.race([once(child.stdout, 'data', { signal: aborted.signal }).catch(() => {}), gone]);
  } finally {
    signal.removeEventListener('abort', abort);
    aborted.abort();
  }
  if (signal.aborted) release();
  signal.throwIfAborted();
  return release;
}
