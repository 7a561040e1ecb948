import assert from 'node:assert/strict';
import { addon, type NativeDevice } from '../../lib/device/native.ts';
import { openCpu } from './support.ts';

const open = (options: Record<string, unknown>) =>
  addon().openDevice(options as unknown as Parameters<ReturnType<typeof addon>['openDevice']>[0]);

describe('binding/device', () => {
  it('lists the CPU with its name, memory and threads', () => {
    const cpu = addon().listDevices().at(-1);
    assert.ok(cpu);
    assert.equal(cpu.backend, 'cpu');
    assert.equal(cpu.index, 0);
    assert.ok(cpu.name.length > 0);
    assert.ok(cpu.totalBytes > 0 && cpu.freeBytes > 0 && cpu.freeBytes <= cpu.totalBytes);
    assert.ok(cpu.units >= 1);
  });

  it('describes itself and uses as many threads as asked', () => {
    const device = openCpu(3);
    assert.equal(device.info.units, 3);
    assert.equal(device.info.backend, 'cpu');
    device.dispose();
  });

  it('lists the choices for an unknown backend, index or path', () => {
    assert.throws(() => open({ backend: 'tpu', index: 0, threads: 0 }), {
      code: 'ERR_SANA_DEVICE',
      message: /'tpu'; available: cpu/,
    });
    assert.throws(() => open({ backend: 'cpu', index: 1, threads: 0 }), {
      code: 'ERR_SANA_DEVICE',
      message: /index 1/,
    });
    assert.throws(() => openCpu(1, 'avx9'), { code: 'ERR_SANA_DEVICE', message: /'avx9' is not one of .*portable/ });
  });

  it('rejects options of the wrong type', () => {
    const wrong = [
      undefined,
      null,
      'cpu',
      {},
      { backend: 'cpu', index: -1, threads: 0 },
      { backend: 'cpu', index: 0, threads: 1e9 },
      { backend: 'cpu', index: 0, threads: Number.NaN },
      { backend: 'cpu', index: 0, threads: 1, path: 5 },
    ];
    for (const options of wrong) assert.throws(() => open(options as never), { code: 'ERR_SANA_ARGUMENT' });
  });

  it('uses every code path that this machine supports, by option or environment variable', () => {
    const supported: string[] = [];
    for (const path of ['portable', 'avx2', 'avx512', 'avx512-bf16']) {
      try {
        const device = openCpu(1, path);
        assert.equal(device.info.path, path);
        device.dispose();
        supported.push(path);
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'ERR_SANA_DEVICE');
      }
    }
    assert.ok(supported.includes('portable'));
    const best = openCpu(1);
    assert.equal(best.info.path, supported.at(-1));
    best.dispose();

    const before = process.env.SANA_NATIVE_CPU_PATH;
    try {
      process.env.SANA_NATIVE_CPU_PATH = 'portable';
      const device = openCpu(1);
      assert.equal(device.info.path, 'portable');
      device.dispose();
      process.env.SANA_NATIVE_CPU_PATH = 'nonsense';
      assert.throws(() => openCpu(1), { code: 'ERR_SANA_DEVICE', message: /'nonsense' is not one of/ });
    } finally {
      if (before === undefined) delete process.env.SANA_NATIVE_CPU_PATH;
      else process.env.SANA_NATIVE_CPU_PATH = before;
    }
  });

  it('reports in every method that it has been disposed of', async () => {
    const device = openCpu(1);
    const buffer = device.allocate(64);
    device.dispose();
    device.dispose();
    const disposed = { code: 'ERR_SANA_DISPOSED' };
    assert.throws(() => device.info, disposed);
    assert.throws(() => device.memory(), disposed);
    assert.throws(() => device.resetPeak(), disposed);
    assert.throws(() => device.allocate(64), disposed);
    assert.throws(() => device.tensorBytes('f32', 'dense', [1]), disposed);
    assert.throws(() => device.createProgram({ calls: [], buffers: [], arenaBytes: 0 }), disposed);
    await assert.rejects(device.read(buffer, 0, 4), disposed);
    await assert.rejects(device.write(buffer, 0, new Uint8Array(4)), disposed);
  });

  it('counts the bytes of packed tensors, and rejects shapes that cannot be packed', () => {
    const device = openCpu(1);
    assert.equal(device.tensorBytes('bf16', 'dense', [3, 5]), 30);
    assert.equal(device.tensorBytes('u8', 'dense', [7]), 7);
    assert.ok(device.tensorBytes('f32', 'linear', [33, 17]) >= 4 * 33 * 17);
    const refused: Parameters<NativeDevice['tensorBytes']>[] = [
      ['f32', 'linear', [3]],
      ['f32', 'linear', [3, 4, 5]],
      ['i32', 'linear', [3, 4]],
      ['bf16', 'depthwise', [3, 3, 3]],
      ['f32', 'gatedLinear', [3, 4]],
      ['f32', 'upsampleConv2d', [4, 5, 5, 4]],
      ['f32', 'dense', [2 ** 20, 2 ** 20]],
    ];
    for (const given of refused) assert.throws(() => device.tensorBytes(...given), { code: 'ERR_SANA_PROGRAM' });
    assert.throws(() => device.tensorBytes('f32', 'dense', []), { code: 'ERR_SANA_ARGUMENT' });
    device.dispose();
  });

  it('cannot be made or impersonated by JavaScript', () => {
    const device = openCpu(1);
    const buffer = device.allocate(64);
    for (const object of [device, buffer]) {
      const Class = object.constructor as new () => unknown;
      assert.throws(() => new Class(), { code: 'ERR_SANA_ARGUMENT' });
    }
    assert.throws(() => device.allocate.call(buffer, 64), TypeError);
    assert.throws(() => buffer.dispose.call(Object.create(buffer)), TypeError);
    device.dispose();
  });
});
