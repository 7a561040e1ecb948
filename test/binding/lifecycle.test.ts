import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../../lib/base/package.ts';
import { openCpu } from './support.ts';

const busy = new URL('./busy.mjs', import.meta.url);
const addonPath = () =>
  process.env.SANA_NATIVE_ADDON || String(createRequire(import.meta.url)('node-gyp-build').path(packageRoot));
const worker = (what: string) => new Worker(busy, { workerData: what, execArgv: [] });

/** Runs busy.mjs as a separate process; it must end by itself within 2 s of finishing its work. */
function child(what: string): { status: number | null; signal: string | null; stdout: string; seconds: number } {
  const start = performance.now();
  const { status, signal, stdout } = spawnSync(process.execPath, [busy.pathname, what], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, signal, stdout, seconds: (performance.now() - start) / 1000 };
}

describe('binding/lifecycle', function () {
  this.timeout(30_000);

  it('ends a process that exits while a program runs', () => {
    const { status, signal, seconds } = child('exit');
    assert.deepEqual([status, signal], [7, null]);
    assert.ok(seconds < 2.5, `${seconds} s`);
  });

  it('ends a process with an uncaught exception while a program runs', () => {
    const { status, signal, seconds } = child('throw');
    assert.deepEqual([status, signal], [1, null]);
    assert.ok(seconds < 2.5, `${seconds} s`);
  });

  it('keeps a process alive until its work is done, and no longer', () => {
    const { status, stdout } = child('short');
    assert.deepEqual([status, stdout], [0, 'done\n']);
  });

  it('lets a process end once its device is disposed or its run cancelled', () => {
    for (const [what, code] of [
      ['dispose', 'ERR_SANA_DISPOSED'],
      ['forget', 'ERR_SANA_CANCELLED'],
    ] as const) {
      const { status, stdout, seconds } = child(what);
      assert.deepEqual([status, stdout], [0, `${code}\n`]);
      assert.ok(seconds < 2.5, `${what}: ${seconds} s`);
    }
  });

  it('does not keep a process alive for an idle device', () => {
    const script = `const addon = require(process.argv[1]);
      const device = addon.openDevice({ backend: 'cpu', index: 0, threads: 2 });
      device.write(device.allocate(64), 0, new Uint8Array(64)).then(() => console.log('written'));`;
    const { status, stdout } = spawnSync(process.execPath, ['-e', script, addonPath()], {
      encoding: 'utf8',
      timeout: 10_000,
    });
    assert.deepEqual([status, stdout], [0, 'written\n']);
  });

  it('dies of a signal at once while a program runs', async () => {
    const process_ = spawn(process.execPath, [busy.pathname, 'busy']);
    await new Promise((resolve) => setTimeout(resolve, 500));
    process_.kill('SIGTERM');
    const [, signal] = await once(process_, 'exit');
    assert.equal(signal, 'SIGTERM');
  });

  it('works in workers and on the main thread at once', async () => {
    const workers = [worker('short'), worker('short')];
    const device = openCpu(2);
    const buffer = device.allocate(1 << 20);
    const results = workers.map(async (one) => {
      const [[message], [code]] = await Promise.all([once(one, 'message'), once(one, 'exit')]);
      assert.deepEqual([message, code], ['done', 0]);
    });
    await device.write(buffer, 0, new Uint8Array(1 << 20).fill(3));
    await Promise.all(results);
    assert.equal(new Uint8Array(await device.read(buffer, 5, 1))[0], 3);
    device.dispose();
  });

  it('survives twenty workers terminated while their programs run', async () => {
    let slowest = 0;
    for (let i = 0; i < 10; ++i) {
      const pair = [worker('busy'), worker('busy')];
      await Promise.all(pair.map((one) => once(one, 'message')));
      const start = performance.now();
      await Promise.all(pair.map((one) => one.terminate()));
      slowest = Math.max(slowest, performance.now() - start);
    }
    assert.ok(slowest < 2000, `${slowest} ms`);
  });

  it('survives a worker that exits while its program runs', async () => {
    const one = worker('exit');
    const [code] = await once(one, 'exit');
    assert.equal(code, 7);
  });
});
