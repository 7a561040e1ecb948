import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GatherRequest, NativeBuffer, NativeDevice, PackRequest } from '../../lib/device/native.ts';
import { addon } from '../../lib/device/native.ts';
import { bytesOf, float32, openCpu, tensor } from './support.ts';

describe('binding/file', () => {
  let folder: string;
  let device: NativeDevice;
  let buffer: NativeBuffer;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'sana-file-'));
    device = openCpu(2);
    buffer = device.allocate(1 << 20);
  });
  after(() => {
    device.dispose();
    rmSync(folder, { recursive: true });
  });

  /** A file of this name with these numbers after `skip` bytes. */
  function numbers(name: string, values: ArrayLike<number>, skip = 0): string {
    const path = join(folder, name);
    writeFileSync(path, Buffer.concat([Buffer.alloc(skip, 0xff), bytesOf(Float32Array.from(values))]));
    return path;
  }

  it('reads ranges, and reports its path and size', async () => {
    const path = join(folder, 'plain');
    writeFileSync(path, 'hello world');
    const file = addon().openFile(path);
    assert.equal(file.path, path);
    assert.equal(file.bytes, 11);
    assert.equal(Buffer.from(await file.read(6, 5)).toString(), 'world');
    assert.equal((await file.read(11, 0)).byteLength, 0);
    const last = file.read(0, 5);
    file.close();
    file.close();
    assert.equal(Buffer.from(await last).toString(), 'hello');
    await assert.rejects(file.read(0, 1), { code: 'ERR_SANA_DISPOSED' });
  });

  it('rejects missing files, folders, FIFOs, devices, dangling links and paths with NUL', () => {
    const refused = (path: string, says: RegExp) =>
      assert.throws(() => addon().openFile(path), { code: 'ERR_SANA_FILE', message: says });
    refused(join(folder, 'missing'), /missing cannot be opened: No such file/);
    mkdirSync(join(folder, 'sub'));
    refused(join(folder, 'sub'), /not a regular file/);
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    refused(join(folder, 'pipe'), /not a regular file/);
    refused('/dev/zero', /not a regular file/);
    symlinkSync(join(folder, 'nowhere'), join(folder, 'link'));
    refused(join(folder, 'link'), /cannot be opened/);
    for (const path of ['', `${folder}/a\0b`, 5, undefined, null]) {
      assert.throws(() => addon().openFile(path as string), { code: 'ERR_SANA_ARGUMENT' });
    }
  });

  it('rejects ranges outside the file', async () => {
    const file = addon().openFile(numbers('ranges', [1, 2]));
    await assert.rejects(file.read(4, 5), {
      code: 'ERR_SANA_FILE',
      message: /ranges has 8 bytes; 5 bytes at offset 4/,
    });
    await assert.rejects(file.read(9, 0), { code: 'ERR_SANA_FILE' });
    await assert.rejects(file.read(2 ** 53 - 1, 2 ** 31), { code: 'ERR_SANA_FILE' });
    for (const [offset, bytes] of [
      [-1, 1],
      [0.5, 1],
      [0, -1],
      [0, 2 ** 40],
      [Number.NaN, 1],
    ] as const) {
      await assert.rejects(file.read(offset, bytes), { code: 'ERR_SANA_ARGUMENT' });
    }
    file.close();
  });

  it('reports where a file has shrunk since it was opened', async () => {
    const path = numbers('shrunk', new Array(1000).fill(1));
    const file = addon().openFile(path);
    truncateSync(path, 100);
    await assert.rejects(file.read(50, 100), {
      code: 'ERR_SANA_FILE',
      message: /shrunk: expected 100 bytes at offset 50, got 50/,
    });
    await assert.rejects(device.pack({ ...request(file, 10, 100), fileOffset: 0 }), { code: 'ERR_SANA_FILE' });
    file.close();
  });

  const request = (file: ReturnType<ReturnType<typeof addon>['openFile']>, rows: number, rowElements: number) =>
    ({
      file,
      fileOffset: 0,
      fileDtype: 'f32',
      rows,
      rowElements,
      buffer,
      target: tensor([rows, rowElements]),
      firstRow: 0,
    }) satisfies PackRequest;

  it('packs rows into a dense tensor and counts what is not finite', async () => {
    const values = Array.from({ length: 12 }, (_, i) => i + 0.5);
    values[5] = Number.NaN;
    values[7] = Number.NEGATIVE_INFINITY;
    const file = addon().openFile(numbers('dense', values, 10));
    const pack = { ...request(file, 3, 4), fileOffset: 10, target: tensor([5, 4], { offset: 64 }), firstRow: 1 };
    assert.equal(await device.pack(pack), 2);
    const result = [...float32(await device.read(buffer, 64, 80))];
    assert.deepEqual(result, [0, 0, 0, 0, ...values, 0, 0, 0, 0]);
    file.close();
  });

  it('packs more rows than fit a block, and rows longer than a block', async () => {
    const count = 3 << 20;
    const large = device.allocate(4 * count);
    const values = Float32Array.from({ length: count }, (_, i) => i % 1009);
    const file = addon().openFile(numbers('large', values));
    for (const rows of [1, 3, 48, 3 << 10, count]) {
      await device.write(large, 0, new Uint8Array(4 * count));
      const pack = { ...request(file, rows, count / rows), buffer: large };
      assert.equal(await device.pack(pack), 0);
      assert.deepEqual(float32(await device.read(large, 0, 4 * count)), values, `${rows} rows`);
    }
    large.dispose();
    file.close();
  });

  it('packs a weight in parts to the same product as in one', async () => {
    const [n, k] = [70, 33];
    const file = addon().openFile(
      numbers(
        'weight',
        Array.from({ length: n * k }, (_, i) => Math.sin(i)),
      ),
    );
    const weight = tensor([n, k], { layout: 'linear' });
    const product = async (parts: readonly number[]): Promise<Float32Array> => {
      const memory = device.allocate(256 << 10);
      let row = 0;
      for (const rows of parts) {
        await device.pack({
          ...request(file, rows, k),
          fileOffset: row * k * 4,
          buffer: memory,
          target: weight,
          firstRow: row,
        });
        row += rows;
      }
      const operands = {
        x: tensor([1, k], { offset: 128 << 10 }),
        weight: { ...weight, buffer: 0 },
        out: tensor([1, n], { offset: 192 << 10 }),
      };
      await device.write(memory, operands.x.offset, bytesOf(new Float32Array(k).fill(1)));
      const calls = [{ op: 'linear', operands, attributes: { activation: 'none', clip: 0 } }];
      await device.run(device.createProgram({ calls, buffers: [memory], arenaBytes: 0 }), null).promise;
      return float32(await device.read(memory, operands.out.offset, 4 * n));
    };
    const whole = await product([n]);
    assert.ok(whole.some((value) => value !== 0));
    assert.deepEqual(await product([1, 30, 39]), whole);
    file.close();
  });

  it('packs rows of host memory, of any dtype, to the very bytes that a file of them gives', async () => {
    const [n, k] = [70, 33];
    const values = Float32Array.from({ length: n * k }, (_, i) => Math.sin(i));
    const file = addon().openFile(numbers('same', values));
    const bytes = device.tensorBytes('bf16', 'linear', [n, k]);
    const target = tensor([n, k], { layout: 'linear', dtype: 'bf16' });
    const { file: _, fileOffset: __, fileDtype: ___, ...rows } = { ...request(file, n, k), target };
    await device.pack({ ...request(file, n, k), target });
    const packed = Buffer.from(await device.read(buffer, 0, bytes));
    await device.write(buffer, 0, new Uint8Array(bytes));
    const data = bytesOf(values.slice());
    const done = device.pack({ ...rows, data, dataDtype: 'f32' });
    data.fill(0xff); // copied before it returned
    assert.equal(await done, 0);
    assert.ok(packed.equals(Buffer.from(await device.read(buffer, 0, bytes))));

    const halves = { bf16: [0x3fc0, 0x7f80], f16: [0x3e00, 0x7c00] } as const; // 1.5 and infinity
    for (const [dataDtype, pair] of Object.entries(halves) as ['bf16' | 'f16', readonly number[]][]) {
      const two = { rows: 1, rowElements: 2, firstRow: 1, buffer, target: tensor([2, 2]) };
      assert.equal(await device.pack({ ...two, data: bytesOf(Uint16Array.from(pair)), dataDtype }), 1);
      assert.deepEqual([...float32(await device.read(buffer, 8, 8))], [1.5, Number.POSITIVE_INFINITY]);
    }
    file.close();
  });

  it('rejects host memory whose size is not exactly that of the rows', async () => {
    const file = addon().openFile(numbers('unused', [1]));
    const base = { rows: 3, rowElements: 4, firstRow: 0, buffer, target: tensor([3, 4]), dataDtype: 'f32' } as const;
    const twelve = new Uint8Array(48);
    const detached = new Uint8Array(48);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const wrong: [object, RegExp][] = [
      [{ data: twelve.subarray(1) }, /`data` to be the 48 bytes of the rows, got 47/],
      [{ data: new Uint8Array(49) }, /got 49/],
      [{ data: detached }, /got 0/],
      [{ data: new Uint8Array(0) }, /got 0/],
      [{ data: new Float32Array(12) }, /`data` to be a Uint8Array/],
      [{ data: twelve.buffer }, /`data` to be a Uint8Array/],
      [{ data: null }, /`data` to be a Uint8Array/],
      [{ data: twelve, file }, /either `file` or `data`/],
      [{ data: twelve, dataDtype: 'i32' }, /`dataDtype` to be f32, bf16 or f16/],
      [{ data: twelve, dataDtype: undefined }, /`dataDtype`/],
      [{ data: twelve, dataDtype: 'bf16' }, /the 24 bytes of the rows, got 48/],
      [{ data: twelve, firstRow: 1 }, /lie inside/],
      [{ data: twelve, rows: 2 ** 40, rowElements: 2 ** 40 }, /below 2\^40/],
      [{ data: twelve, target: tensor([3, 5]) }, /contiguous rows of 4/],
      [{}, /file/],
    ];
    for (const [changes, message] of wrong) {
      const error = { code: 'ERR_SANA_ARGUMENT', message };
      await assert.rejects(device.pack({ ...base, ...changes } as never), error, String(message));
    }
    // A getter that takes the memory away comes too late.
    const data = new Uint8Array(48).fill(1);
    const hostile = {
      ...base,
      data,
      get dataDtype() {
        structuredClone(data.buffer, { transfer: [data.buffer] });
        return 'f32' as const;
      },
    };
    assert.equal(await device.pack(hostile), 0);
    assert.ok(Buffer.from(await device.read(buffer, 0, 48)).every((byte) => byte === 1));
    await assert.rejects(device.gather({ ...base, data, fileRows: 3, rows: [0] } as never), {
      code: 'ERR_SANA_ARGUMENT',
    });
    file.close();
  });

  it('gathers the chosen rows', async () => {
    const file = addon().openFile(
      numbers(
        'rows',
        Array.from({ length: 40 }, (_, i) => i),
      ),
    );
    const gather: GatherRequest = {
      file,
      fileOffset: 0,
      fileDtype: 'f32',
      fileRows: 10,
      rowElements: 4,
      rows: [9, 0, 9],
      buffer,
      target: tensor([3, 4]),
    };
    await device.gather(gather);
    assert.deepEqual([...float32(await device.read(buffer, 0, 48))], [36, 37, 38, 39, 0, 1, 2, 3, 36, 37, 38, 39]);
    await device.gather({ ...gather, target: tensor([3, 4], { dtype: 'bf16' }) });
    const halves = new Uint16Array(await device.read(buffer, 0, 8));
    assert.deepEqual([...halves], [0x4210, 0x4214, 0x4218, 0x421c]);
    for (const rows of [[10], [-1], [0.5], [], new Array(4).fill(0), '012']) {
      await assert.rejects(device.gather({ ...gather, rows: rows as number[] }), { code: 'ERR_SANA_ARGUMENT' });
    }
    file.close();
  });

  it('rejects requests outside the file or the target', async () => {
    const file = addon().openFile(numbers('hostile', new Array(12).fill(1)));
    const base = request(file, 3, 4);
    const wrong: [Partial<Record<keyof PackRequest, unknown>>, string][] = [
      [{ rows: 4, target: tensor([4, 4]) }, 'ERR_SANA_FILE'],
      [{ fileOffset: 4 }, 'ERR_SANA_FILE'],
      [{ fileOffset: Number.MAX_SAFE_INTEGER }, 'ERR_SANA_FILE'],
      [{ fileOffset: -1 }, 'ERR_SANA_ARGUMENT'],
      [{ rows: 2 ** 40, rowElements: 2 ** 40 }, 'ERR_SANA_ARGUMENT'],
      [{ rows: 2 ** 30, rowElements: 2 }, 'ERR_SANA_FILE'],
      [{ rows: 0 }, 'ERR_SANA_ARGUMENT'],
      [{ rowElements: 0 }, 'ERR_SANA_ARGUMENT'],
      [{ rowElements: Number.NaN }, 'ERR_SANA_ARGUMENT'],
      [{ firstRow: 1 }, 'ERR_SANA_ARGUMENT'],
      [{ firstRow: 2 ** 40 }, 'ERR_SANA_ARGUMENT'],
      [{ fileDtype: 'i32' }, 'ERR_SANA_ARGUMENT'],
      [{ target: tensor([3, 4], { dtype: 'i32' }) }, 'ERR_SANA_ARGUMENT'],
      [{ target: tensor([3, 4], { pitch: 8 }) }, 'ERR_SANA_ARGUMENT'],
      [{ target: tensor([3, 5]) }, 'ERR_SANA_ARGUMENT'],
      [{ target: tensor([3, 4], { offset: 1 << 20 }) }, 'ERR_SANA_PROGRAM'],
      [{ target: tensor([3, 5], { layout: 'linear' }) }, 'ERR_SANA_ARGUMENT'],
      [{ target: tensor([2, 4], { layout: 'linear' }) }, 'ERR_SANA_ARGUMENT'],
      [{ target: tensor([3, 4], { layout: 'linear', offset: 4 }) }, 'ERR_SANA_PROGRAM'],
      [{ target: null }, 'ERR_SANA_ARGUMENT'],
      [{ buffer: file }, 'ERR_SANA_ARGUMENT'],
      [{ file: buffer }, 'ERR_SANA_ARGUMENT'],
    ];
    for (const [changes, code] of wrong) {
      await assert.rejects(device.pack({ ...base, ...changes } as PackRequest), { code }, JSON.stringify(changes));
    }
    file.close();
  });
});
