import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { SnapshotOptions } from '../../lib/hub/snapshot.ts';
import { sanaError } from '../support/errors.ts';
import { type HubFile, refuse, send } from '../support/fake-hub.ts';
import { fakeHub, noise, REPOSITORY } from './support.ts';

const NAME = 'vae/weights.safetensors';
const DATA = noise(3_000_000);

describe('the download of a file', () => {
  const context = fakeHub();
  let cache: string;
  let file: HubFile;
  beforeEach(() => {
    cache = context.newCache();
    file = context.hub.add(REPOSITORY, { [NAME]: DATA }).files.get(NAME) ?? assert.fail();
  });

  const pull = (options: Partial<SnapshotOptions> = {}) => context.pull(cache, options);
  const blobs = (...parts: string[]) => join(cache, 'models--owner--model', 'blobs', ...parts);
  const partial = () => blobs(`${file.hash}.incomplete`);
  const leave = (bytes: Uint8Array) => {
    mkdirSync(blobs(), { recursive: true });
    writeFileSync(partial(), bytes);
  };
  const assertWhole = async (wanted: Promise<{ folder: string }>) => {
    const { folder } = await wanted;
    assert.ok(readFileSync(join(folder, NAME)).equals(DATA));
    assert.deepEqual(readdirSync(blobs()), [file.hash]);
  };
  /** What is asked of the storage: the ranges. */
  const ranges = () =>
    context.hub.requests.filter(({ path }) => path.startsWith('/storage/')).map(({ range }) => range);
  /** Answers requests for the contents of the file, the i-th of them with the i-th fault; then as it should. */
  const faults = (...list: ((response: ServerResponse, range: string | undefined) => void)[]) => {
    const left = list.values();
    context.hub.fault = (request, response) => {
      if (request.url?.startsWith('/storage/') !== true) return false;
      const fault = left.next().value;
      fault?.(response, request.headers.range);
      return fault !== undefined;
    };
  };
  /** The beginning of the requested range, then the connection is closed. */
  const cut = (bytes: number) => (response: ServerResponse, range: string | undefined) => {
    const from = Number(/\d+/.exec(range ?? '0')?.[0]);
    const length = { 'content-length': String(DATA.length - from), etag: `"${file.hash}"` };
    const part = range === undefined ? {} : { 'content-range': `bytes ${from}-${DATA.length - 1}/${DATA.length}` };
    response.writeHead(range === undefined ? 200 : 206, { ...length, ...part });
    response.write(DATA.subarray(from, Math.min(from + bytes, DATA.length)), () =>
      setImmediate(() => response.destroy()),
    );
  };

  it('resumes where it was interrupted, at any byte, with the range and the ETag', async () => {
    const cuts = [0, 1, 65_535, 1_048_576, 299_999, 1_000_003, 7, 500_000];
    faults(...cuts.map(cut));
    await assertWhole(pull());
    const asked = ranges();
    assert.equal(asked.length, cuts.length + 1);
    let at = 0;
    for (const [i, range] of asked.entries()) {
      const from = Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')?.[1]);
      assert.ok(from >= at && from <= DATA.length, `${i}: ${range}`);
      at = from;
    }
    assert.ok(at > 2_000_000);
    const resumed = context.hub.requests.filter(
      ({ path, range }) => path.startsWith('/storage/') && range !== undefined,
    );
    assert.ok(resumed.every(({ ifRange }) => ifRange === `"${file.hash}"`));
    assert.ok(context.hub.requests.every(({ encoding }) => encoding === 'identity'));
  });

  it('goes on in a later call, and of a file that is whole asks for nothing', async () => {
    faults(cut(1_234_567), cut(0), cut(0));
    await assert.rejects(pull(), sanaError('ERR_SANA_DOWNLOAD', NAME, 'was cut off', 'tried 3 times'));
    const { size } = statSync(partial());
    assert.ok(size > 0 && size <= 1_234_567);
    context.hub.requests.length = 0;
    await assertWhole(pull());
    assert.deepEqual(ranges(), [`bytes=${size}-`]);
    rmSync(join(cache, 'models--owner--model'), { recursive: true });
    leave(DATA);
    context.hub.requests.length = 0;
    await assertWhole(pull());
    assert.deepEqual(ranges(), []);
  });

  it('starts again if what an earlier call left is of another file, too long, or rejected with 416', async () => {
    leave(noise(100_000, 9));
    await assertWhole(pull());
    assert.deepEqual(ranges(), ['bytes=100000-', undefined]);
    for (const left of [noise(DATA.length + 5), noise(DATA.length, 9)]) {
      cache = context.newCache();
      leave(left);
      context.hub.requests.length = 0;
      await assertWhole(pull());
      assert.deepEqual(ranges(), [undefined]);
    }
    cache = context.newCache();
    leave(DATA.subarray(0, 1000));
    context.hub.requests.length = 0;
    faults((response) => response.writeHead(416, { 'content-range': 'bytes */10' }).end());
    await assertWhole(pull());
    assert.deepEqual(ranges(), ['bytes=1000-', undefined]);
  });

  it('works with a server without ranges, and with one whose file changes in the middle', async () => {
    leave(DATA.subarray(0, 1000));
    faults((response) => response.writeHead(200).end(DATA));
    await assertWhole(pull());
    cache = context.newCache();
    // The tag of the first answer is not the one that the rest has: with If-Range the whole file comes.
    faults((response) => {
      response.writeHead(200, { etag: '"another"' });
      response.write(noise(1000, 9), () => setImmediate(() => response.destroy()));
    });
    await assertWhole(pull());
  });

  it('is an error when the bytes are not those announced, and nothing of them is kept', async () => {
    const wrong = { ...file, data: noise(DATA.length, 9) };
    context.hub.fault = (request, response, asked) => {
      if (asked === undefined || !request.url?.startsWith('/storage/')) return false;
      send(request, response, wrong);
      return true;
    };
    await assert.rejects(pull(), sanaError('ERR_SANA_INTEGRITY', NAME, file.hash, 'deleted'));
    assert.equal(ranges().length, 1);
    assert.deepEqual(readdirSync(blobs()), []);
    // Of a file in git, whose hash is git's.
    context.hub.add(REPOSITORY, { 'config.json': '{"right": 1}' });
    context.hub.fault = (request, response, asked) => {
      if (asked === undefined) return false;
      send(request, response, { ...asked, data: Buffer.from('{"wrong": 1}') });
      return true;
    };
    await assert.rejects(pull(), sanaError('ERR_SANA_INTEGRITY', 'config.json'));
  });

  const lies: readonly [string, (response: ServerResponse) => void, RegExp][] = [
    ['a shorter length', (r) => r.writeHead(200, { 'content-length': '5' }).end('short'), /has "5" bytes left/],
    [
      'a longer length',
      (r) => r.writeHead(200, { 'content-length': '3000001' }).end(noise(3_000_001)),
      /"3000001" bytes/,
    ],
    ['more than it announced', (r) => r.writeHead(200).end(noise(3_500_000)), /sends more than its 3000000 bytes/],
    [
      'a compressed body',
      (r) => r.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(Buffer.alloc(50_000_000))),
      /arrived with the encoding "gzip", which was not requested/,
    ],
    [
      'a part that was not asked for',
      (r) => r.writeHead(206, { 'content-range': 'bytes 5-9/10' }).end('short'),
      /5-9\/10/,
    ],
    ['no more of it', (r) => refuse(r, 404, 'EntryNotFound'), /no longer has it/],
    ['a refusal', (r) => refuse(r, 451), /status 451/],
  ];
  for (const [what, lie, message] of lies) {
    it(`is an error when the server sends ${what}`, async () => {
      faults(lie, lie, lie);
      const code = /no longer|451/.test(message.source) ? 'ERR_SANA_DOWNLOAD' : 'ERR_SANA_INTEGRITY';
      await assert.rejects(pull(), sanaError(code, NAME, message));
      assert.equal(ranges().length, 1); // trying again would not help
    });
  }

  it('ends when bodies end early every time', async () => {
    faults(...Array.from({ length: 3 }, () => (r: ServerResponse) => void r.writeHead(200).end()));
    await assert.rejects(pull(), sanaError('ERR_SANA_DOWNLOAD', 'stopped after 0 of 3000000 bytes', 'tried 3 times'));
  });

  it('waits as long as a busy server asks, but not for an hour', async () => {
    const busy = (after: string) => (r: ServerResponse) => refuse(r, 429, undefined, { 'retry-after': after });
    faults(
      busy('1'),
      (r) => refuse(r, 503),
      (r) => refuse(r, 403),
    ); // of the storage: its address was too old
    const started = performance.now();
    await assertWhole(pull({ patience: { attempts: 4, pauseMs: 1, maxPauseMs: 1 } }));
    assert.ok(performance.now() - started >= 990);
    assert.equal(ranges().length, 4);
    cache = context.newCache();
    faults(busy('3600'));
    await assert.rejects(
      pull(),
      (error: Error & { hint: string }) => /status 429/.test(error.message) && /token/.test(error.hint),
    );
    const date = new Date(Date.now() + 500).toUTCString();
    faults(busy(date), busy(date), busy('0'));
    await assert.rejects(pull(), sanaError('ERR_SANA_DOWNLOAD', 'status 429', 'tried 3 times'));
  });

  it('does not wait for ever for a silent server, before or during its answer', async () => {
    process.env.HF_HUB_DOWNLOAD_TIMEOUT = '0.3';
    faults(
      () => {}, // no head
      (r) => void r.writeHead(200).write(DATA.subarray(0, 1000)), // no end
    );
    await assertWhole(pull());
    assert.deepEqual(ranges(), [undefined, undefined, 'bytes=1000-']);
  });

  it('can be aborted at any moment: what has come stays, nothing else does, and the next call goes on', async () => {
    faults((r) => void r.writeHead(200, { 'content-length': String(DATA.length) }).write(DATA.subarray(0, 1_200_000)));
    const controller = new AbortController();
    const reason = new Error('no more');
    let calls = 0;
    const wanted = pull({
      signal: controller.signal,
      onProgress: ({ loadedBytes }) => {
        calls++;
        if (loadedBytes > 0) setTimeout(() => controller.abort(reason), 50);
      },
    });
    await assert.rejects(wanted, (error) => error === reason);
    const before = calls;
    assert.deepEqual(readdirSync(join(cache, '.locks', 'models--owner--model')), []);
    assert.deepEqual(readdirSync(blobs()), [`${file.hash}.incomplete`]);
    assert.equal(existsSync(join(cache, 'models--owner--model', 'refs')), false);
    const { size } = statSync(partial());
    assert.ok(size >= 1_000_000);
    assert.ok(readFileSync(partial()).equals(DATA.subarray(0, size)));
    context.hub.requests.length = 0;
    await assertWhole(pull());
    assert.deepEqual(ranges(), [`bytes=${size}-`]);
    assert.equal(calls, before);
    await assert.rejects(pull({ signal: AbortSignal.abort(reason) }), (error) => error === reason);
  });

  it('goes no further when one of several fails', async () => {
    const names = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`${i}.bin`, noise(5000 + i, i)]));
    context.hub.add(REPOSITORY, names);
    context.hub.fault = (request, response, asked) => {
      if (asked?.name !== '11.bin' || !request.url?.startsWith('/storage/')) return false;
      refuse(response, 410);
      return true;
    };
    await assert.rejects(pull(), sanaError('ERR_SANA_DOWNLOAD', '11.bin', 'status 410'));
    assert.ok(context.hub.downloads().length < 12);
    assert.deepEqual(readdirSync(join(cache, '.locks', 'models--owner--model')), []);
  });

  describe('on a separate disk', () => {
    let disk = '';
    before(function () {
      disk = join(context.folder, 'small');
      mkdirSync(disk);
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=5m', 'tmpfs', disk], { stdio: 'ignore' });
      } catch {
        disk = '';
        this.skip(); // only root mounts
      }
    });
    after(() => {
      if (disk !== '') execFileSync('umount', [disk]);
    });

    it('reports before it starts that there is not enough space', async () => {
      cache = disk;
      context.hub.add(REPOSITORY, { [NAME]: noise(6_000_000) });
      await assert.rejects(pull(), sanaError('ERR_SANA_FILE', disk, '0.01 GB to download'));
      assert.deepEqual(context.hub.downloads(), []);
    });

    it('that is read-only is an error, unless all is there', async () => {
      cache = disk;
      context.hub.add(REPOSITORY, { 'config.json': '{}' });
      const { folder } = await pull();
      execFileSync('mount', ['-o', 'remount,ro', disk]);
      try {
        assert.equal((await pull()).folder, folder);
        context.hub.add(REPOSITORY, { 'config.json': '{"new": 1}' });
        await assert.rejects(pull(), sanaError('ERR_SANA_FILE', 'it is read-only', disk));
      } finally {
        execFileSync('mount', ['-o', 'remount,rw', disk]);
        rmSync(join(disk, 'models--owner--model'), { recursive: true });
      }
    });

    it('fails if the disk fills up, and resumes once there is space again', async () => {
      cache = disk;
      faults((response) => {
        writeFileSync(join(disk, 'other'), noise(4_000_000)); // somebody else was faster
        response.writeHead(200).end(DATA);
      });
      await assert.rejects(pull(), sanaError('ERR_SANA_FILE', 'the disk is full', disk));
      rmSync(join(disk, 'other'));
      await assertWhole(pull());
    });
  });
});
