/**
 * Packing is seen through operators that pick single weights: an identity for x, or an image with one pixel set, gives
 * the weights themselves, so that every comparison is exact.
 */

import assert from 'node:assert/strict';
import type { Layout } from '../../lib/device/native.ts';
import { conv2d, linear, upsampleConv2d } from '../reference/matrix.ts';
import { multiScaleProject } from '../reference/vector.ts';
import { type Activation, decode, type Operand, rounded, roundToBf16 } from '../support/operands.ts';
import { assertExpected, deviceOn, type Example, nameOf, paths, run, WeightFiles } from '../support/operators.ts';
import { Random } from '../support/random.ts';

const stored = ['f32', 'bf16', 'f16'] as const;
type Stored = (typeof stored)[number];
const dtypes = ['f32', 'bf16'] as const;

/** Numbers of a checkpoint in this dtype, f16's smallest among them. */
function numbers(dtype: Stored, count: number): Float32Array {
  const random = new Random(7);
  if (dtype !== 'f16') return rounded(random.uniform(count), dtype);
  return Float32Array.from({ length: count }, () => random.integer(-2047, 2047) * 2 ** random.integer(-24, 4));
}

function identity(dtype: Activation, shape: readonly number[], set: (i: number) => number, count: number): Operand {
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  for (let i = 0; i < count; i++) data[set(i)] = 1;
  return { dtype, shape, data };
}

/** A weight of K columns, seen through the identity. */
function linearExample(dtype: Activation, from: Stored, n: number, K: number, parts?: readonly number[]): Example {
  const x = identity(dtype, [K, K], (i) => i * K + i, K);
  const data = numbers(from, n * K);
  const weight = { dtype, shape: [n, K], layout: 'linear', stored: from, data, ...(parts && { parts }) } as const;
  const out = { dtype: 'f32', shape: [K, n] } as const;
  const expected = () => ({ out: linear({ x: x.data ?? data, weight: rounded(data, dtype), M: K, N: n, K }) });
  return { op: 'linear', operands: { x, weight, out }, expected, tolerance: 'exact', attributes };
}
const attributes = { activation: 'none', clip: 0 } as const;

/** The same as bytes, with a scale for each row: to the rounding of the product. */
function i8Example(dtype: Activation, from: Stored, n: number, K: number, parts?: readonly number[]): Example {
  const { tolerance: _, ...example } = linearExample(dtype, from, n, K, parts);
  const { x, weight } = example.operands as { x: Operand; weight: Operand };
  const [given, data] = [x.data ?? new Float32Array(), weight.data ?? new Float32Array()];
  const expected = () => ({ out: linear({ x: given, weight: data, M: K, N: n, K, quantized: 'i8' }) });
  return { ...example, operands: { ...example.operands, weight: { ...weight, dtype: 'i8' } }, expected };
}

/** The products of gate rows and others: exact in f32 for bf16 weights, to its last bit for f32. */
function gatedExample(dtype: Activation, from: Stored, n: number, K: number, parts?: readonly number[]): Example {
  const example = linearExample(dtype, from, n, K, parts);
  const { x, weight } = example.operands as { x: Operand; weight: Operand };
  const data = rounded(weight.data ?? [], dtype);
  const expected = () => ({ out: linear({ x: x.data ?? data, weight: data, M: K, N: n, K, gated: true }) });
  const operands = {
    x,
    weight: { ...weight, layout: 'gatedLinear' as Layout },
    out: { dtype: 'f32' as const, shape: [K, n / 2] },
  };
  return { ...example, operands, expected };
}

/** Item i of the batch has one pixel set, in channel i. */
function convExample(
  dtype: Activation,
  from: Stored,
  o: number,
  I: number,
  kernel: readonly [number, number],
): Example {
  const [kh, kw] = kernel;
  const x = identity(dtype, [I, kh, kw, I], (i) => ((i * kh + (kh >> 1)) * kw + (kw >> 1)) * I + i, I);
  const data = numbers(from, o * I * kh * kw);
  const weight = { dtype, shape: [o, kh, kw, I], layout: 'conv2d', stored: from, data } as const;
  const out = { dtype: 'f32', shape: [I, kh, kw, o] } as const;
  const shape = { B: I, height: kh, width: kw, I, O: o, kernelHeight: kh, kernelWidth: kw, stride: 1 };
  const expected = () => ({ out: conv2d({ x: x.data ?? data, weight: rounded(data, dtype), ...shape }) });
  const operands = { x, weight, out };
  const plain = { stride: 1, activation: 'none' };
  return { op: 'conv2d', operands, expected, tolerance: 'exact', attributes: plain };
}

/** Taps are summed in f32 as they are in the file, and rounded once. */
function upsampleExample(dtype: Activation, from: Stored, o: number, I: number): Example {
  const x = identity(dtype, [I, 3, 3, I], (i) => ((i * 3 + 1) * 3 + 1) * I + i, I);
  const random = new Random(8);
  const most = { f32: 2 ** 20, bf16: 255, f16: 2047 }[from]; // sums of four are exact in f32
  const data = Float32Array.from({ length: o * I * 9 }, () => random.integer(-most, most));
  const weight = { dtype, shape: [o, 3, 3, I], layout: 'upsampleConv2d', stored: from, data } as const;
  const out = { dtype: 'f32', shape: [I, 6, 6, o] } as const;
  const shape = { B: I, height: 3, width: 3, I, O: o };
  const expected = () => ({ out: rounded(upsampleConv2d({ x: x.data ?? data, weight: data, ...shape }), dtype) });
  return { op: 'upsampleConv2d', operands: { x, weight, out }, expected, tolerance: 'exact' };
}

/** Item c of the batch has one pixel set, in channel c; the projection multiplies by 1. */
function depthwiseExample(dtype: Activation, from: Stored, c: number): Example {
  const shape = [c, 5, 5, c] as const;
  const x = identity(dtype, shape, (i) => ((i * 5 + 2) * 5 + 2) * c + i, c);
  const data = numbers(from, c * 25);
  const depthwise = { dtype: 'f32', shape: [c, 5, 5], layout: 'depthwise', stored: from, data } as const;
  const pointwise = { dtype: 'f32', shape: [c, 1], data: new Float32Array(c).fill(1) } as const;
  const out = { dtype: 'f32', shape } as const;
  const expected = () => ({ out: multiScaleProject(x.data ?? data, data, pointwise.data, shape, 1) });
  return { op: 'multiScaleProject', operands: { x, depthwise, pointwise, out }, expected, tolerance: 'exact' };
}

const tables: Readonly<Record<string, (dtype: Activation, from: Stored) => Example[]>> = {
  linear: (dtype, from) => [
    linearExample(dtype, from, 1, 1),
    linearExample(dtype, from, 33, 17),
    linearExample(dtype, from, 100, 9, [1, 30, 2, 32, 35]), // odd parts, over the edges of groups and panels
    linearExample(dtype, from, 70, 259, [35, 35]), // more inputs than a run
  ],
  'linear of i8': (dtype, from) => [
    i8Example(dtype, from, 1, 1),
    i8Example(dtype, from, 33, 17),
    i8Example(dtype, from, 100, 9, [1, 30, 2, 32, 35]),
    i8Example(dtype, from, 70, 259, [35, 35]),
  ],
  gatedLinear: (dtype, from) => [
    gatedExample(dtype, from, 2, 3),
    gatedExample(dtype, from, 26, 9, [13, 13]), // halves that are no multiple of 16
    gatedExample(dtype, from, 74, 20, [7, 31, 36]),
    gatedExample(dtype, from, 64, 5),
  ],
  conv2d: (dtype, from) => [
    convExample(dtype, from, 1, 1, [3, 3]),
    convExample(dtype, from, 33, 3, [3, 3]),
    convExample(dtype, from, 3, 19, [3, 3]),
    convExample(dtype, from, 17, 5, [1, 5]),
    convExample(dtype, from, 5, 2, [7, 3]),
  ],
  upsampleConv2d: (dtype, from) => [
    upsampleExample(dtype, from, 1, 1),
    upsampleExample(dtype, from, 35, 3),
    upsampleExample(dtype, from, 3, 18),
  ],
  depthwise: (dtype, from) => [depthwiseExample(dtype, from, 1), depthwiseExample(dtype, from, 37)],
};

describe('packing', () => {
  let files: WeightFiles;
  before(() => {
    files = new WeightFiles();
  });
  after(() => files.dispose());

  for (const [layout, examples] of Object.entries(tables)) {
    it(`puts every weight in its place: ${layout}, from f32, bf16 and f16, to f32 and bf16`, async () => {
      for (const from of stored) {
        for (const dtype of dtypes) {
          for (const example of examples(dtype, from)) {
            const what = `from ${from}, ${nameOf(example)}`;
            for (const path of paths) assertExpected(example, await run(deviceOn(path, 2), files, example), what);
          }
        }
      }
    });
  }

  const device = () => deviceOn(paths.at(-1) ?? 'portable', 2);

  it('rounds to the nearest bf16, halves to even, and keeps the largest, the smallest and the signs', async () => {
    const values = [
      1,
      -1,
      0,
      -0,
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      1 + 2 ** -8 + 2 ** -20,
      3.3e38,
      -(2 ** -149),
      2 ** -126,
    ];
    const data = Float32Array.from(values);
    const target: Operand = { dtype: 'bf16', shape: [data.length], data };
    const buffer = device().allocate(64);
    await files.pack(device(), buffer, target, 0);
    const read = decode(new Uint8Array(await device().read(buffer, 0, 2 * data.length)), 'bf16');
    buffer.dispose();
    // 1 + 2^-8 lies halfway between 1 and 1 + 2^-7, 1 + 3 * 2^-8 between that and 1 + 2^-6.
    const halves = [1, 1 + 2 ** -6, 1 + 2 ** -7];
    assert.deepEqual([...read].slice(0, 7), [1, -1, 0, -0, ...halves]);
    assert.deepEqual(Array.from(read), Array.from(roundToBf16(data)));
  });

  it('widens every f16 exactly to f32', async () => {
    const all = Float32Array.from({ length: 1 << 15 }, (_, half) => {
      const [exponent, fraction] = [half >> 10, half & 0x3ff];
      if (exponent === 31) return fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
      return exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    });
    const data = Float32Array.from([...all, ...all.map((value) => -value)]);
    const target: Operand = { dtype: 'f32', shape: [data.length], data, stored: 'f16' };
    const buffer = device().allocate(4 * data.length);
    assert.equal(await files.pack(device(), buffer, target, 0), 2 * 1024);
    const read = new Float32Array(await device().read(buffer, 0, 4 * data.length));
    buffer.dispose();
    assert.deepEqual(Array.from(read), Array.from(data)); // of typed arrays, no NaN equals another
  });

  it('replaces rows of i8, and puts them back, with the bytes of packing all at once', async () => {
    const [n, K, first, count] = [70, 259, 13, 40];
    const weight: Operand = { dtype: 'i8', shape: [n, K], layout: 'linear', data: numbers('bf16', n * K) };
    const bytes = device().tensorBytes('i8', 'linear', weight.shape);
    const other = Float32Array.from({ length: count * K }, (_, i) => 100 - (i % 201));
    const data = Float32Array.from(weight.data ?? []);
    data.set(other, first * K);
    const [buffer, whole] = [device().allocate(bytes), device().allocate(bytes)];
    const read = async (from: typeof buffer) => new Uint8Array(await device().read(from, 0, bytes));
    const replace = async (rows: Float32Array) => {
      const target = { offset: 0, dtype: 'i8', layout: 'linear', shape: weight.shape, pitch: K } as const;
      const source = {
        data: new Uint8Array(rows.slice().buffer),
        dataDtype: 'f32',
        rows: count,
        rowElements: K,
      } as const;
      assert.equal(await device().pack({ ...source, buffer, target, firstRow: first }), 0);
    };
    await files.pack(device(), buffer, weight, 0);
    const before = await read(buffer);
    await files.pack(device(), whole, { ...weight, data }, 0);
    await replace(other);
    assert.deepEqual(await read(buffer), await read(whole));
    assert.notDeepEqual(await read(buffer), before);
    await replace((weight.data ?? new Float32Array()).subarray(first * K, (first + count) * K));
    assert.deepEqual(await read(buffer), before);
    buffer.dispose();
    whole.dispose();
  });

  it('takes about half the memory of bf16 in i8, and has i8 only in linear', () => {
    const [i8, bf16] = (['i8', 'bf16'] as const).map((dtype) => device().tensorBytes(dtype, 'linear', [5760, 1152]));
    assert.ok((i8 ?? 0) < 0.51 * (bf16 ?? 0));
    for (const layout of ['gatedLinear', 'conv2d'] as const) {
      const shape = layout === 'conv2d' ? [32, 3, 3, 32] : [32, 32];
      assert.throws(() => device().tensorBytes('i8', layout, shape), /must be f32, bf16 or f16/);
    }
  });

  it('counts NaN and infinities wherever they are, in every layout', async () => {
    const shapes: Record<Exclude<Layout, 'dense'>, readonly number[]> = {
      linear: [37, 300],
      gatedLinear: [38, 300],
      conv2d: [5, 3, 3, 70],
      upsampleConv2d: [5, 3, 3, 70],
      depthwise: [400, 3, 3],
    };
    for (const [layout, shape] of Object.entries(shapes)) {
      for (const from of stored) {
        const targets = layout === 'depthwise' ? ['f32'] : layout === 'linear' ? [...dtypes, 'i8'] : dtypes;
        for (const dtype of targets as readonly Operand['dtype'][]) {
          const clean = numbers(
            from,
            shape.reduce((product, size) => product * size, 1),
          );
          const data = clean.slice();
          data[0] = Number.NaN;
          data[data.length - 1] = Number.NEGATIVE_INFINITY;
          data[data.length >> 1] = Number.POSITIVE_INFINITY;
          const operand = { dtype, shape, layout: layout as Layout, stored: from };
          const buffer = device().allocate(device().tensorBytes(dtype, operand.layout, shape));
          const what = `${layout} from ${from} to ${dtype}`;
          assert.equal(await files.pack(device(), buffer, { ...operand, data: clean }, 0), 0, what);
          assert.equal(await files.pack(device(), buffer, { ...operand, data }, 0), 3, what);
          buffer.dispose();
        }
      }
    }
  });

  it('gathers chosen rows, some twice, from f32, bf16 and f16, to f32 and bf16', async () => {
    const [fileRows, rowElements] = [50, 33];
    const rows = [49, 0, 7, 7, 13, 0];
    for (const from of stored) {
      const data = numbers(from, fileRows * rowElements);
      const chosen = Float32Array.from(
        rows.flatMap((row) => [...data.subarray(row * rowElements, (row + 1) * rowElements)]),
      );
      for (const dtype of dtypes) {
        const bytes = chosen.length * (dtype === 'f32' ? 4 : 2);
        const buffer = device().allocate(bytes);
        const file = files.open(data, from);
        const target = {
          offset: 0,
          dtype,
          layout: 'dense',
          shape: [rows.length, rowElements],
          pitch: rowElements,
        } as const;
        await device().gather({ file, fileOffset: 0, fileDtype: from, fileRows, rowElements, rows, buffer, target });
        file.close();
        const read = decode(new Uint8Array(await device().read(buffer, 0, bytes)), dtype);
        buffer.dispose();
        assert.deepEqual(read, rounded(chosen, dtype), `from ${from} to ${dtype}`);
      }
    }
  });
});
