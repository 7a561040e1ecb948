/**
 * What cuda.test.ts runs on the emulated CUDA devices, each in a process of its own: `node cuda-cases.ts <name>`. The
 * variables SIMT_... (test/simt/faults.h) are read at every call of the runtime.
 */

import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';
import type { SanaError } from '../../lib/base/errors.ts';
import { requestedPaths } from '../../lib/device/devices.ts';
import {
  addon,
  type NativeBuffer,
  type NativeDevice,
  type NativeProgram,
  nativeLibraries,
} from '../../lib/device/native.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { tinyModel } from '../support/pipelines.ts';
import { bytesOf, float32, openCpu, tensor } from './support.ts';

const openCuda = (index = 0): NativeDevice =>
  addon().openDevice({ backend: 'cuda', index, threads: 0, path: requestedPaths().cuda ?? '' });
const deviceError = { code: 'ERR_SANA_DEVICE' };

/** `calls` conversions one after another, through the arena, of the buffer's first half into its second. */
class Chain {
  readonly #device: NativeDevice;
  readonly program: NativeProgram;
  readonly buffer: NativeBuffer;
  readonly input: Float32Array;
  readonly arenaBytes: number;

  constructor(device: NativeDevice, calls: number, elements = 1000) {
    const bytes = 4 * elements;
    const shape = [elements];
    this.#device = device;
    this.input = Float32Array.from({ length: elements }, (_, i) => Math.sin(i));
    this.arenaBytes = 2 * bytes;
    this.buffer = device.allocate(2 * bytes);
    const place = (i: number) => tensor(shape, { buffer: -1, offset: (i % 2) * bytes });
    const list = Array.from({ length: calls }, (_, i) => ({
      op: 'convert',
      scope: `block ${i}`,
      operands: {
        x: i === 0 ? tensor(shape) : place(i),
        out: i === calls - 1 ? tensor(shape, { offset: bytes }) : place(i + 1),
      },
      attributes: { scale: i % 2 === 0 ? 3 : 1 / 3, repeat: 1 },
    }));
    this.program = device.createProgram({ calls: list, buffers: [this.buffer], arenaBytes: this.arenaBytes });
  }

  write(): Promise<void> {
    return this.#device.write(this.buffer, 0, bytesOf(this.input));
  }

  /** The buffer's second half, after clearing it and a run. */
  async result(arena: NativeBuffer): Promise<Float32Array> {
    const bytes = this.input.byteLength;
    await this.#device.write(this.buffer, bytes, new Uint8Array(bytes));
    await this.#device.run(this.program, arena).promise;
    return float32(await this.#device.read(this.buffer, bytes, bytes));
  }

  /** Its expected content. */
  expected(calls: number): Float32Array {
    let values = this.input;
    for (let i = 0; i < calls; i++) values = values.map((x) => x * Math.fround(i % 2 === 0 ? 3 : 1 / 3));
    return values;
  }
}

/** A device works: a fresh chain on it gives what it should. */
async function assertWorks(device: NativeDevice): Promise<void> {
  const chain = new Chain(device, 3);
  await chain.write();
  const arena = device.allocate(chain.arenaBytes);
  assert.deepEqual(await chain.result(arena), chain.expected(3));
  for (const one of [chain.program, chain.buffer, arena]) one.dispose();
}

const problems = () => nativeLibraries().map(({ problem }) => problem);
const backends = () =>
  addon()
    .listDevices()
    .map(({ backend }) => backend);

/** Only the CPU is there, and it works. */
async function assertOnlyCpu(): Promise<void> {
  assert.deepEqual(backends(), ['cpu']);
  assert.throws(() => openCuda(), { ...deviceError, message: /no backend 'cuda'; available: cpu/ });
  await assertWorks(openCpu(1));
}

export const cases: Readonly<Record<string, () => Promise<void>>> = {
  async 'lists three devices that work, and the library that they come from'() {
    assert.deepEqual(problems(), ['']);
    assert.equal(nativeLibraries()[0]?.file, process.env.SANA_NATIVE_CUDA);
    assert.deepEqual(backends(), ['cuda', 'cuda', 'cuda', 'cpu']);
    for (const { backend, problem, path, freeBytes, totalBytes } of addon().listDevices()) {
      if (backend !== 'cuda') continue;
      assert.deepEqual([problem, path], ['', 'sm_89']);
      assert.ok(freeBytes > 0 && freeBytes <= totalBytes);
    }
    for (const index of [0, 1, 2]) await assertWorks(openCuda(index));
    assert.throws(() => openCuda(3), { ...deviceError, message: /there are 3 CUDA devices, got index 3/ });
  },

  async 'says that there is no driver, and the CPU works'() {
    assert.match(String(problems()[0]), /no NVIDIA driver was found/);
    await assertOnlyCpu();
  },

  async 'says that the driver is too old, and the CPU works'() {
    assert.match(String(problems()[0]), /driver is too old: it supports CUDA 11\.4, and CUDA \d+ is required/);
    await assertOnlyCpu();
  },

  async 'says that there is no device, and the CPU works'() {
    assert.deepEqual(problems(), ['there is no NVIDIA device']);
    await assertOnlyCpu();
  },

  async 'lists a card that is too old with its problem, and refuses it'() {
    const [card] = addon().listDevices();
    assert.equal(card?.backend, 'cuda');
    assert.match(String(card?.problem), /compute capability 7\.5 is below the required 8\.0/);
    assert.throws(() => openCuda(), { ...deviceError, message: /compute capability 7\.5/ });
    await assertWorks(openCpu(1));
  },

  async 'takes the path of sm_90a where it is asked for by name'() {
    const [card] = addon().listDevices();
    assert.equal(card?.path, 'sm_90');
    for (const index of [0, 1, 2]) {
      const device = openCuda(index);
      assert.equal(device.info.path, 'sm_90a-wgmma');
      await assertWorks(device);
    }
    const other = addon().openDevice({ backend: 'cuda', index: 0, threads: 0, path: '128x128' });
    assert.equal(other.info.path, 'sm_90');
  },

  async 'refuses the path of sm_90a to other cards'() {
    const message = /the path sm_90a-wgmma is for compute capability 9\.0, cuda:0 has 8\.9/;
    assert.throws(() => openCuda(), { ...deviceError, message });
    assert.equal(addon().openDevice({ backend: 'cuda', index: 0, threads: 0, path: '' }).info.path, 'sm_89');
  },

  async 'refuses fp8 to cards without instructions for it, before any work'() {
    const device = openCuda();
    assert.equal(device.info.path, 'sm_80');
    const refused = { ...deviceError, message: /fp8 needs compute capability 8\.9; this is 8\.0; use 'int8'/ };
    assert.throws(() => device.tensorBytes('f8', 'linear', [8, 16]), refused);
    assert.ok(device.tensorBytes('i8', 'linear', [8, 16]) > 0);
    const buffer = device.allocate(4096);
    const weight = { dtype: 'f8', layout: 'linear', offset: 0, shape: [8, 16], pitch: 16 } as const;
    const data = new Uint8Array(4 * 8 * 16);
    const rows = { data, dataDtype: 'f32', rows: 8, rowElements: 16, firstRow: 0 } as const;
    await assert.rejects(async () => device.pack({ ...rows, buffer, target: weight }), refused);
    const operands = { x: tensor([1, 16], { offset: 1024 }), weight, out: tensor([1, 8], { offset: 2048 }) };
    const placed = Object.entries(operands).map(([name, operand]) => [name, { ...operand, buffer: 0 }]);
    const call = { op: 'linear', operands: Object.fromEntries(placed), attributes: { activation: 'none', clip: 0 } };
    assert.throws(() => device.createProgram({ calls: [call], buffers: [buffer], arenaBytes: 0 }), refused);
    buffer.dispose();

    await assert.rejects(
      SanaPipeline.fromPretrained(tinyModel, { device: 'cuda', dtype: 'fp8' }),
      (error: SanaError) => {
        assert.equal(error.code, 'ERR_SANA_ARGUMENT');
        assert.match(error.message, /`dtype` to be .*'float16' or 'int8' on cuda:0, got 'fp8'/);
        assert.equal(error.hint, "fp8 needs compute capability 8.9; this is 8.0; use 'int8'.");
        return true;
      },
    );
    await assertWorks(device);
  },

  async 'opens no library with SANA_NATIVE_CUDA=off'() {
    assert.deepEqual(problems(), Array(2).fill('SANA_NATIVE_CUDA=off excludes this library'));
    await assertOnlyCpu();
  },

  async 'tries only the major version that SANA_NATIVE_CUDA names'() {
    const [thirteen, twelve] = nativeLibraries();
    assert.match(String(thirteen?.file), /libsana_cuda13\.so$/);
    assert.equal(thirteen?.problem, 'SANA_NATIVE_CUDA=12 excludes this library');
    assert.match(String(twelve?.file), /libsana_cuda12\.so$/);
    assert.notEqual(twelve?.problem, 'SANA_NATIVE_CUDA=12 excludes this library');
  },

  async 'says that a library is not there'() {
    assert.deepEqual(problems(), ['the file does not exist']);
    await assertOnlyCpu();
  },

  async 'says that a library is no backend'() {
    assert.deepEqual(problems(), ['it is not a sana-native backend']);
    await assertOnlyCpu();
  },

  async 'tells how much memory was missing, and goes on'() {
    process.env.SIMT_MEMORY_BYTES = String(128 << 20);
    const device = openCuda();
    const missing = {
      code: 'ERR_SANA_MEMORY',
      message: /104857600 bytes required, 67108864 of 134217728 bytes free on cuda:0/,
    };
    assert.throws(() => device.allocate(100 << 20), missing);
    await assertWorks(device);
    const large = device.allocate(60 << 20);
    assert.throws(() => device.allocate(60 << 20), { code: 'ERR_SANA_MEMORY' });
    large.dispose(); // and is taken back by the allocation that needs it
    const again = device.allocate(60 << 20);
    await device.read(again, 0, 1); // nothing is left to take back
    process.env.SIMT_FAIL = 'cudaMalloc:1';
    assert.throws(() => device.allocate(64), { code: 'ERR_SANA_MEMORY' });
    again.dispose();
    await assertWorks(device);
  },

  async 'does not open a device without room for its workspace, until there is'() {
    process.env.SIMT_MEMORY_BYTES = String(1 << 20);
    assert.throws(() => openCuda(), { code: 'ERR_SANA_MEMORY', message: /workspace/ });
    delete process.env.SIMT_MEMORY_BYTES;
    await assertWorks(openCuda());
  },

  async 'needs pinned memory to write, and goes on once there is'() {
    const device = openCuda();
    const buffer = device.allocate(64);
    process.env.SIMT_FAIL = 'cudaMallocHost:1';
    await assert.rejects(device.write(buffer, 0, new Uint8Array(64)), { code: 'ERR_SANA_MEMORY', message: /pinned/ });
    await assertWorks(device);
  },

  async 'names the operator whose launch was refused, and goes on'() {
    const device = openCuda();
    const chain = new Chain(device, 3);
    await chain.write();
    const arena = device.allocate(chain.arenaBytes);
    const refused = {
      ...deviceError,
      message: /^block 1 > convert \[1000\]: .*too many resources requested for launch/,
    };
    process.env.SIMT_FAIL = 'launch:2';
    await assert.rejects(chain.result(arena), refused);
    for (let i = 0; i < 2; i++) assert.deepEqual(await chain.result(arena), chain.expected(3));
    process.env.SIMT_FAIL = 'cudaFree:0,launch:2'; // now while it is recorded
    await assert.rejects(chain.result(arena), refused);
    for (let i = 0; i < 2; i++) assert.deepEqual(await chain.result(arena), chain.expected(3));
    process.env.SIMT_FAIL = 'cudaGraphInstantiate:1';
    await assert.rejects(chain.result(arena), { code: 'ERR_SANA_MEMORY', message: /graph/ });
    for (let i = 0; i < 4; i++) assert.deepEqual(await chain.result(arena), chain.expected(3));
  },

  async 'loses a device to a fault in a kernel, and has it back when it is opened again'() {
    const device = openCuda();
    const other = openCuda(1);
    const chain = new Chain(device, 3);
    await chain.write();
    const arena = device.allocate(chain.arenaBytes);
    await chain.result(arena);
    process.env.SIMT_FAIL = 'kernel:2';
    await assert.rejects(chain.result(arena), {
      ...deviceError,
      message:
        /^between block 0 > convert \[1000\] and block 2 > convert \[1000\]: a kernel failed.*illegal memory access/,
    });
    for (let i = 0; i < 3; i++) await assert.rejects(chain.result(arena), deviceError);
    await assert.rejects(device.run(chain.program, arena).promise, deviceError);
    await assert.rejects(device.read(chain.buffer, 0, 4), deviceError);
    await assert.rejects(device.ceilings(), deviceError);
    assert.throws(() => device.allocate(64), deviceError);
    assert.throws(() => openCuda(), { ...deviceError, message: /dispose of everything that uses the device/ });
    assert.match(String(addon().listDevices()[0]?.problem), /illegal memory access.*dispose of everything/);
    await assertWorks(other);

    const second = new Chain(other, 2);
    device.dispose();
    for (let i = 0; i < 2; i++) {
      const again = openCuda();
      assert.equal(again.info.problem, '');
      await assertWorks(again);
      if (i === 0) again.dispose();
    }
    await assertWorks(other);
    await second.write();
    assert.deepEqual(await second.result(other.allocate(second.arenaBytes)), second.expected(2));
    for (const one of [chain.buffer, arena, chain.program]) one.dispose(); // long gone
  },

  async 'tells of a fault between which operators it was, as near as that is known'() {
    const device = openCuda();
    const chain = new Chain(device, 300);
    await chain.write();
    const arena = device.allocate(chain.arenaBytes);
    process.env.SIMT_FAIL = 'kernel:200';
    const error: Error = await chain.result(arena).then(
      () => assert.fail('no fault was reported'),
      (reason) => reason,
    );
    const [, first, last] =
      /^between block (\d+) > convert .* and block (\d+) > convert .*: /.exec(error.message) ?? [];
    assert.ok(Number(first) <= 199 && Number(last) >= 199, error.message);
    assert.ok(Number(last) - Number(first) < 128, error.message); // two groups
  },

  async 'refuses a call that it has no kernel for by its name, before any work'() {
    const device = openCuda();
    const buffer = device.allocate(4096);
    const x = tensor([1, 8, 8], { dtype: 'bf16' });
    const call = { op: 'transpose', scope: 'tail', attributes: {} };
    const operands = { x, out: tensor([1, 8, 8], { dtype: 'f16', offset: 1024 }) };
    assert.throws(() => device.createProgram({ calls: [{ ...call, operands }], buffers: [buffer], arenaBytes: 0 }), {
      code: 'ERR_SANA_PROGRAM',
      message: 'tail > transpose [1, 8, 8]: no kernel from bf16 to f16 or back: convert to f32 between them',
    });
    await assertWorks(device);
  },

  async 'has the same bits when it is run once, queued again, and recorded, in one arena or another'() {
    const device = openCuda(2);
    const chain = new Chain(device, 70); // more than two groups
    await chain.write();
    const arenas = [device.allocate(chain.arenaBytes), device.allocate(chain.arenaBytes)];
    for (const which of [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0]) {
      assert.deepEqual(await chain.result(arenas[which] as NativeBuffer), chain.expected(70)); // 0 or 1
    }
  },

  async 'stops a long program soon when it is cancelled, queued or recorded'() {
    const device = openCuda();
    const chain = new Chain(device, 2000, 1 << 15);
    await chain.write();
    const arena = device.allocate(chain.arenaBytes);
    for (const what of ['queued', 'queued again', 'recorded', 'replayed']) {
      const run = device.run(chain.program, arena);
      const start = performance.now();
      setTimeout(() => run.cancel(), 100);
      await assert.rejects(run.promise, { code: 'ERR_SANA_CANCELLED' }, what);
      assert.ok(performance.now() - start < 5000, what);
    }
    const waiting = [device.run(chain.program, arena), device.run(chain.program, arena)];
    for (const run of waiting) run.cancel();
    for (const run of waiting) await assert.rejects(run.promise, { code: 'ERR_SANA_CANCELLED' });
    await assertWorks(device);
  },

  async 'gives a time for every call when it is profiled'() {
    const device = openCuda();
    const chain = new Chain(device, 40);
    await chain.write();
    const arena = device.allocate(chain.arenaBytes);
    for (let i = 0; i < 4; i++) {
      const times = await device.run(chain.program, arena, { profile: true }).promise;
      assert.equal(times?.length, 40);
      assert.ok(times?.every((time) => time >= 0) && times.some((time) => time > 0));
      assert.deepEqual(await chain.result(arena), chain.expected(40));
    }
  },

  async 'keeps memory that was disposed of until the work that uses it is done'() {
    const device = openCuda();
    const chain = new Chain(device, 200, 1 << 13);
    const kept = device.allocate(64);
    const before = device.memory().bytes;
    const arena = device.allocate(chain.arenaBytes);
    const done = [chain.write(), device.run(chain.program, arena).promise];
    const read = device.read(chain.buffer, chain.input.byteLength, chain.input.byteLength);
    for (const one of [chain.program, arena, chain.buffer]) one.dispose();
    const others = Array.from({ length: 20 }, () => device.allocate(chain.arenaBytes)); // none of it theirs
    await Promise.all(done);
    assert.deepEqual(float32(await read), chain.expected(200));
    for (const other of others) {
      assert.ok(new Uint8Array(await device.read(other, 0, other.bytes)).every((byte) => byte === 0));
      other.dispose();
    }
    assert.equal(device.memory().bytes, before - chain.buffer.bytes);
    assert.equal(new Uint8Array(await device.read(kept, 0, 64)).join(''), '0'.repeat(64));
  },

  async 'works on two devices at once, and on one that is open twice'() {
    const devices = [openCuda(0), openCuda(1), openCuda(0)];
    const results = devices.map(async (device) => {
      const chain = new Chain(device, 50);
      await chain.write();
      const arena = device.allocate(chain.arenaBytes);
      const all = [];
      for (let i = 0; i < 4; i++) all.push(await chain.result(arena));
      for (const one of all) assert.deepEqual(one, chain.expected(50));
    });
    await Promise.all(results);
    devices[0]?.dispose();
    for (const device of devices.slice(1)) await assertWorks(device);
  },
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [name = ''] = process.argv.slice(2);
  await (cases[name] ?? assert.fail(`no case '${name}'`))();
  process.exit(0);
}
