import assert from 'node:assert/strict';
import type { NativeBuffer, NativeDevice } from '../../lib/device/native.ts';
import { bytesOf, float32, longProgram, openCpu, tensor } from './support.ts';

describe('binding/buffer', () => {
  let device: NativeDevice;
  beforeEach(() => {
    device = openCpu(2);
  });
  afterEach(() => device.dispose());

  it('starts as zeros and keeps what is written', async () => {
    const buffer = device.allocate(5 << 20);
    assert.equal(buffer.bytes, 5 << 20);
    assert.ok(new Uint8Array(await device.read(buffer, 0, buffer.bytes)).every((byte) => byte === 0));
    await device.write(buffer, 3, new Uint8Array([1, 2, 3]));
    assert.deepEqual([...new Uint8Array(await device.read(buffer, 2, 5))], [0, 1, 2, 3, 0]);
    assert.equal((await device.read(buffer, buffer.bytes, 0)).byteLength, 0);
  });

  it('copies data before write() returns, and only the view', async () => {
    const buffer = device.allocate(64);
    const all = new Uint8Array(8).fill(9);
    const view = all.subarray(2, 4);
    const written = device.write(buffer, 0, view);
    all.fill(7);
    await written;
    assert.deepEqual([...new Uint8Array(await device.read(buffer, 0, 3))], [9, 9, 0]);
  });

  it('rejects ranges outside it and data of the wrong type', async () => {
    const buffer = device.allocate(64);
    const argument = { code: 'ERR_SANA_ARGUMENT' };
    for (const [offset, bytes] of [
      [60, 8],
      [65, 0],
      [-1, 1],
      [0.5, 1],
      [Number.NaN, 1],
      [0, -1],
      [2 ** 53 - 1, 64],
      [0, 2 ** 40],
    ] as const) {
      await assert.rejects(device.read(buffer, offset, bytes), argument, `${offset} ${bytes}`);
    }
    await assert.rejects(device.write(buffer, 60, new Uint8Array(5)), argument);
    await assert.rejects(device.write(buffer, 0, [1, 2] as never), argument);
    await assert.rejects(device.write(buffer, 0, new Float32Array(1) as never), argument);
    await assert.rejects(device.write({ bytes: 64 } as never, 0, new Uint8Array(1)), argument);
    for (const bytes of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '64']) {
      assert.throws(() => device.allocate(bytes as number), argument);
    }
  });

  it('rejects a buffer of another device', async () => {
    const other = openCpu(1);
    const buffer = other.allocate(64);
    await assert.rejects(device.read(buffer, 0, 4), { code: 'ERR_SANA_ARGUMENT', message: /of this device/ });
    assert.throws(() => device.createProgram({ calls: [], buffers: [buffer], arenaBytes: 0 }), {
      code: 'ERR_SANA_ARGUMENT',
    });
    other.dispose();
  });

  it('reports the required memory if there is not enough', () => {
    const before = device.memory();
    assert.throws(() => device.allocate(1e15), {
      code: 'ERR_SANA_MEMORY',
      message: /^1000000000000000 bytes required/,
    });
    assert.deepEqual(device.memory(), before);
  });

  it('keeps a ledger of what is alive and of the most there was', () => {
    const base = device.memory().bytes;
    assert.ok(base >= 2 * (4 << 20), 'workspaces of both threads');
    const one = device.allocate(1000);
    const two = device.allocate(500);
    assert.deepEqual(device.memory(), { bytes: base + 1500, peakBytes: base + 1500 });
    one.dispose();
    one.dispose();
    assert.deepEqual(device.memory(), { bytes: base + 500, peakBytes: base + 1500 });
    device.resetPeak();
    assert.equal(device.memory().peakBytes, base + 500);
    two.dispose();
    assert.equal(device.memory().bytes, base);
  });

  it('is freed after the work that uses it', async () => {
    const base = device.memory().bytes;
    const { program, arena } = longProgram(device);
    const run = device.run(program, arena);
    const buffer = device.allocate(4096);
    const written = device.write(buffer, 0, new Uint8Array(4096).fill(5));
    const data = device.read(buffer, 0, 4096);
    buffer.dispose();
    arena.dispose();
    assert.ok(device.memory().bytes >= base + 4096);
    await assert.rejects(device.read(buffer, 0, 4), { code: 'ERR_SANA_DISPOSED' });
    assert.throws(() => device.run(program, arena), { code: 'ERR_SANA_DISPOSED' });
    run.cancel();
    await assert.rejects(run.promise, { code: 'ERR_SANA_CANCELLED' });
    await written;
    assert.ok(new Uint8Array(await data).every((byte) => byte === 5));
    assert.equal(device.memory().bytes, base);
  });

  it('makes a program that used it unusable once disposed', async () => {
    const buffer = device.allocate(4096);
    const operands = { x: tensor([4]), out: tensor([4], { offset: 64 }) };
    const program = device.createProgram({
      calls: [{ op: 'activation', operands, attributes: { activation: 'relu' } }],
      buffers: [buffer],
      arenaBytes: 0,
    });
    await device.write(buffer, 0, bytesOf(new Float32Array([-1, 2, -3, 4])));
    await device.run(program, null).promise;
    assert.deepEqual([...float32(await device.read(buffer, 64, 16))], [0, 2, 0, 4]);
    buffer.dispose();
    assert.throws(() => device.run(program, null), { code: 'ERR_SANA_DISPOSED' });
    program.dispose();
    assert.throws(() => device.run(program, null), { code: 'ERR_SANA_DISPOSED', message: /program/ });
  });

  it('lets the garbage collector free what nobody disposes', async () => {
    const base = device.memory().bytes;
    const { gc } = globalThis;
    assert.ok(gc, '--expose-gc');
    (() => {
      const lost: NativeBuffer[] = [];
      for (let i = 0; i < 50; ++i) lost.push(device.allocate(1 << 20));
    })();
    for (let i = 0; i < 20 && device.memory().bytes > base; ++i) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(device.memory().bytes, base);
  });
});
