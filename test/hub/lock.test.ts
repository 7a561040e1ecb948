import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { withLock } from '../../lib/hub/lock.ts';
import { temporaryFolder } from '../support/files.ts';
import { contents, fakeHub, noise, REPOSITORY } from './support.ts';

const { signal } = new AbortController();
const nothing = async () => {};

describe('the lock of a download', () => {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);

  it('is held by one at a time, and is gone afterwards', async () => {
    const order: string[] = [];
    const hold = (name: string) =>
      withLock(at('one.lock'), signal, nothing, async () => {
        order.push(`${name} begins`);
        await sleep(20);
        order.push(`${name} ends`);
      });
    await Promise.all([hold('a'), hold('b'), hold('c')]);
    assert.equal(order.length, 6);
    for (let i = 0; i < 6; i += 2) assert.equal(order[i]?.replace('begins', 'ends'), order[i + 1]);
    const failing = withLock(at('one.lock'), signal, nothing, async () => assert.fail('of the work'));
    await assert.rejects(failing, /of the work/);
    assert.ok(!existsSync(at('one.lock')));
  });

  it('is taken from a process that is gone, and from an earlier one with this process id', async () => {
    const child = spawn('true');
    await once(child, 'close');
    for (const pid of [child.pid, process.pid]) {
      writeFileSync(at('dead.lock'), JSON.stringify({ id: 'x', host: hostname(), pid, thread: 0 }));
      const started = performance.now();
      await withLock(at('dead.lock'), signal, nothing, nothing);
      assert.ok(performance.now() - started < 1000);
    }
  });

  it('is waited for while its holder lives or may live, until the wait is aborted', async () => {
    for (const holder of [
      { host: hostname(), pid: process.ppid },
      { host: 'elsewhere', pid: 1 },
    ]) {
      writeFileSync(at('alive.lock'), JSON.stringify({ id: 'x', thread: 0, ...holder }));
      const controller = new AbortController();
      const waiting = async () => controller.abort(new Error('waited'));
      await assert.rejects(withLock(at('alive.lock'), controller.signal, waiting, nothing), /^Error: waited$/);
      assert.ok(existsSync(at('alive.lock')));
    }
  });
});

describe('two processes', () => {
  const context = fakeHub();
  const NAME = 'weights.safetensors';
  const DATA = noise(2_000_000);
  const script = fileURLToPath(new URL('puller.mjs', import.meta.url));
  const start = (cache: string) => {
    const child = spawn(process.execPath, [script, cache, REPOSITORY], { stdio: ['ignore', 'pipe', 'pipe'] });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    const ended = once(child, 'close').then(() => `${Buffer.concat(stderr)}${Buffer.concat(stdout)}`);
    return { child, ended };
  };

  it('that want the same at once download it once; one that is killed leaves what it has to the next', async () => {
    context.hub.add(REPOSITORY, { [NAME]: DATA, 'config.json': '{}' });
    // The first answer stops in the middle until both processes have asked what there is.
    let asked = 0;
    let meet = () => {};
    const both = new Promise<void>((done) => {
      meet = done;
    });
    context.hub.fault = async (request, response, file) => {
      if (request.url?.startsWith('/api/')) {
        if (++asked === 2) meet();
        return false;
      }
      if (!request.url?.startsWith('/storage/') || file === undefined) return false;
      response.writeHead(200, { 'content-length': String(DATA.length), etag: `"${file.hash}"` });
      response.write(DATA.subarray(0, 1_500_000));
      await both;
      await sleep(300);
      response.end(DATA.subarray(1_500_000));
      return true;
    };
    const cache = context.newCache();
    const results = await Promise.all([start(cache), start(cache)].map(({ ended }) => ended));
    const received = results
      .map((text) => JSON.parse(text.replace(/^ready\n/, '')).receivedBytes)
      .sort((a, b) => a - b);
    assert.deepEqual(received, [0, DATA.length + 2]);
    assert.deepEqual(context.hub.downloads().sort(), ['config.json', NAME]);
    assert.deepEqual(readdirSync(join(cache, '.locks', 'models--owner--model')), []);

    context.hub.add(REPOSITORY, { [NAME]: DATA });
    const other = context.newCache();
    let half = () => {};
    const begun = new Promise<void>((done) => {
      half = done;
    });
    context.hub.fault = (request, response) => {
      if (!request.url?.startsWith('/storage/')) return false;
      response.writeHead(200, { 'content-length': String(DATA.length) });
      response.write(DATA.subarray(0, 1_500_000), half);
      return true;
    };
    const { child, ended } = start(other);
    await begun;
    const blobs = join(other, 'models--owner--model', 'blobs');
    const partial = () => readdirSync(blobs).find((name) => name.endsWith('.incomplete')) ?? '';
    while (statSync(join(blobs, partial())).size < 1_000_000) await sleep(10);
    child.kill('SIGKILL');
    await ended;
    const locks = join(other, '.locks', 'models--owner--model');
    assert.equal(readdirSync(locks).length, 1); // nobody took it away
    const left = readFileSync(join(blobs, partial()));
    assert.ok(left.equals(DATA.subarray(0, left.length)));

    context.hub.fault = undefined;
    context.hub.requests.length = 0;
    const { folder, receivedBytes } = await context.pull(other);
    assert.ok(contents(folder)[NAME]?.equals(DATA));
    assert.equal(receivedBytes, DATA.length - left.length);
    assert.deepEqual(readdirSync(locks), []);
  });
});
