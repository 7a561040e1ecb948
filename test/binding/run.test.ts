import assert from 'node:assert/strict';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import type { CallDescription, NativeBuffer, NativeDevice } from '../../lib/device/native.ts';
import { bufferBytes, bytesOf, float32, longProgram, openCpu, random, tensor, wellFormed } from './support.ts';

const scaled = (scale: number, from: number, to: number): CallDescription => ({
  op: 'convert',
  operands: { x: tensor([256], { offset: from }), out: tensor([256], { offset: to }) },
  attributes: { scale, repeat: 1 },
});

describe('binding/run', () => {
  let device: NativeDevice;
  let buffer: NativeBuffer;
  beforeEach(() => {
    device = openCpu(2);
    buffer = device.allocate(bufferBytes);
  });
  afterEach(() => device.dispose());

  it('runs calls in order, and queued work in order', async () => {
    const program = device.createProgram({
      calls: [scaled(2, 0, 1024), scaled(3, 1024, 0)],
      buffers: [buffer],
      arenaBytes: 0,
    });
    const done: string[] = [];
    const note = (name: string) => () => done.push(name);
    const work = [
      device.write(buffer, 0, bytesOf(new Float32Array(256).fill(1))).then(note('write')),
      device.run(program, null).promise.then(note('run 1')),
      device.run(program, null).promise.then(note('run 2')),
      device.read(buffer, 0, 1024).then((data) => {
        note('read')();
        assert.ok(float32(data).every((value) => value === 36));
      }),
    ];
    await Promise.all(work);
    assert.deepEqual(done, ['write', 'run 1', 'run 2', 'read']);
  });

  it('gives the milliseconds of every call when profiled', async () => {
    const { program, arena } = longProgram(device, 5);
    assert.equal(await device.run(program, arena).promise, undefined);
    const times = await device.run(program, arena, { profile: true }).promise;
    assert.ok(times instanceof Float64Array);
    assert.equal(times.length, 5);
    assert.ok(times.every((ms) => ms > 0 && ms < 10_000));
  });

  it('rejects an arena that is missing, too small, or a buffer of the program', () => {
    const { program, arena } = longProgram(device, 1);
    const small = device.allocate(arena.bytes - 1);
    const argument = { code: 'ERR_SANA_ARGUMENT', message: /`arena` to have at least/ };
    assert.throws(() => device.run(program, null), argument);
    assert.throws(() => device.run(program, small), argument);
    assert.throws(() => device.run({} as never, null), { code: 'ERR_SANA_ARGUMENT' });
    assert.throws(() => device.run(program, program as never), { code: 'ERR_SANA_ARGUMENT' });
    const own = device.createProgram({ calls: [scaled(1, 0, 1024)], buffers: [buffer], arenaBytes: 64 });
    assert.throws(() => device.run(own, buffer), { code: 'ERR_SANA_ARGUMENT', message: /not to be another buffer/ });
  });

  it('stops a long program soon after it is cancelled, and others run on', async () => {
    const { program, arena } = longProgram(device);
    const run = device.run(program, arena);
    const queued = device.run(program, arena);
    const written = device.write(buffer, 0, new Uint8Array([1]));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const start = performance.now();
    queued.cancel();
    run.cancel();
    run.cancel();
    await assert.rejects(run.promise, { code: 'ERR_SANA_CANCELLED' });
    await assert.rejects(queued.promise, { code: 'ERR_SANA_CANCELLED' });
    assert.ok(performance.now() - start < 1000);
    await written;
    assert.equal(new Uint8Array(await device.read(buffer, 0, 1))[0], 1);
  });

  it('stops inside a long operator too', async () => {
    const size = 4096;
    const weight = tensor([size, size], { buffer: -1, layout: 'linear' });
    const at = (nth: number) => device.tensorBytes('f32', 'linear', weight.shape) + nth * 4 * size * size;
    const operands = {
      x: tensor([size, size], { buffer: -1, offset: at(0) }),
      weight,
      out: tensor([size, size], { buffer: -1, offset: at(1) }),
    };
    const calls = [{ op: 'linear', operands, attributes: { activation: 'none', clip: 0 } }];
    const program = device.createProgram({ calls, buffers: [], arenaBytes: at(2) });
    const arena = device.allocate(at(2));
    const run = device.run(program, arena);
    await new Promise((resolve) => setTimeout(resolve, 30));
    const start = performance.now();
    run.cancel();
    await assert.rejects(run.promise, { code: 'ERR_SANA_CANCELLED' });
    const ms = performance.now() - start;
    assert.ok(ms < 1500, `${ms} ms`);
  });

  it('rejects running and queued work when the device is disposed', async () => {
    const { program, arena } = longProgram(device);
    const work = [
      device.run(program, arena).promise,
      device.run(program, arena).promise,
      device.read(arena, 0, 4),
      device.write(arena, 0, new Uint8Array(4)),
    ];
    await new Promise((resolve) => setTimeout(resolve, 20));
    const start = performance.now();
    device.dispose();
    assert.ok(performance.now() - start < 100, 'dispose() waits for nothing');
    for (const result of await Promise.allSettled(work)) {
      assert.equal(result.status, 'rejected');
      assert.equal(result.reason.code, 'ERR_SANA_DISPOSED');
    }
    assert.ok(performance.now() - start < 1500);
  });

  it('gives the same bits for any number of threads', async () => {
    const next = random(1);
    const numbers = bytesOf(Float32Array.from({ length: bufferBytes / 4 }, () => next() - 0.5));
    const results: Buffer[] = [];
    for (const threads of [1, 2, 3]) {
      const other = openCpu(threads);
      const memory = other.allocate(bufferBytes);
      const parts: Buffer[] = [];
      for (const call of wellFormed) {
        await other.write(memory, 0, numbers);
        const program = other.createProgram({ calls: [call], buffers: [memory], arenaBytes: 0 });
        await other.run(program, null).promise;
        parts.push(Buffer.from(await other.read(memory, 0, bufferBytes)));
      }
      results.push(Buffer.concat(parts));
      other.dispose();
    }
    assert.ok(results[0]?.equals(results[1] as Buffer));
    assert.ok(results[0]?.equals(results[2] as Buffer));
  });

  it('leaves the event loop free while every processor computes', async function () {
    const all = openCpu();
    const { program, arena } = longProgram(all, 20_000);
    const p99 = async (): Promise<number> => {
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      await new Promise((resolve) => setTimeout(resolve, 600));
      delay.disable();
      return delay.percentile(99) / 1e6 - 1; // the timer's own millisecond
    };
    // Other processes delay the event loop as well, all the more while this one uses up its share of the processors:
    // the claim is about a machine that is otherwise idle, so look for a moment when it is.
    const seen: string[] = [];
    let [best, quiet] = [Number.POSITIVE_INFINITY, false];
    for (let attempt = 0; attempt < 4 && best >= 5; ++attempt) {
      const idle = await p99();
      const run = all.run(program, arena);
      const busy = await p99();
      run.cancel();
      await assert.rejects(run.promise, { code: 'ERR_SANA_CANCELLED' });
      seen.push(`${busy.toFixed(1)} ms (${idle.toFixed(1)} ms idle)`);
      best = Math.min(best, busy);
      quiet ||= idle < 1;
    }
    all.dispose();
    if (best >= 5 && !quiet) this.skip();
    assert.ok(best < 5, `p99 of the event loop's delay: ${seen.join(', ')}`);
  });
});
