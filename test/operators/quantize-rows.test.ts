import assert from 'node:assert/strict';
import { type Quantized, quantizeRows } from '../reference/matrix.ts';
import { e4m3Code, e4m3Values } from '../support/e4m3.ts';
import { Maker, type Operand, rounded } from '../support/operands.ts';
import { assertExpected, type Example, machines, machinesWithF8, run, WeightFiles } from '../support/operators.ts';

describe('quantised rows', () => {
  let files: WeightFiles;
  before(() => {
    files = new WeightFiles();
  });
  after(() => files.dispose());

  for (const machine of machines) {
    it(`is a sum of integers times two scales, to the bit, on ${machine.name}`, async () => {
      for (const dtype of machine.dtypes) {
        const make = new Maker(dtype, 2);
        for (const [M, N, K] of [
          [1, 1, 1],
          [3, 5, 17],
          [70, 65, 200],
          [2, 33, 2240],
        ] as const) {
          if (2 * M * N * K > machine.mostFlops) continue;
          const x = make.activation([M, K]);
          const weight = make.activation([N, K], { dtype: 'i8', layout: 'linear' });
          const [left, right] = [quantizeRows(x.data, K), quantizeRows(weight.data, K)];
          const out = Float32Array.from({ length: M * N }, (_, i) => {
            const [m, n] = [Math.floor(i / N), i % N];
            let sum = 0;
            for (let k = 0; k < K; k++) sum += Number(left.values[m * K + k]) * Number(right.values[n * K + k]);
            return Math.fround(sum) * Math.fround(Number(left.scales[m]) * Number(right.scales[n]));
          });
          const example: Example = {
            op: 'linear',
            operands: { x, weight, out: { dtype: 'f32', shape: [M, N] } },
            attributes: { activation: 'none', clip: 0 },
            expected: () => ({ out }),
            tolerance: 'exact',
          };
          assertExpected(example, await run(machine.open(1), files, example), `${dtype} [${M}, ${N}, ${K}]`);
        }
      }
    });
  }

  for (const quantized of machinesWithF8.length > 0 ? (['i8', 'f8'] as const) : (['i8'] as const)) {
    describe(`of ${quantized}`, () => ofOne(quantized));
  }

  function ofOne(quantized: Quantized): void {
    const [machine] = quantized === 'i8' ? machines : machinesWithF8;
    assert(machine);
    const device = () => machine.open(1);

    /** x [rows, 16] times a weight of 24 rows, and a bias of ones. */
    async function product(dtype: 'f32' | 'bf16', rows: readonly (readonly number[])[]): Promise<number[][]> {
      const make = new Maker(dtype, 3);
      const x: Operand = { dtype, shape: [rows.length, 16], data: Float32Array.from(rows.flat()) };
      const weight = make.activation([24, 16], { dtype: quantized, layout: 'linear' });
      const bias: Operand = { dtype: 'f32', shape: [24], data: new Float32Array(24).fill(1) };
      const operands = { x, weight, bias, out: make.out([rows.length, 24]) };
      const attributes = { activation: 'none', clip: 3 };
      const { values } = await run(device(), files, { op: 'linear', operands, attributes });
      return rows.map((_, row) => Array.from(values.out ?? []).slice(row * 24, (row + 1) * 24));
    }
    const row = (...numbers: number[]): number[] => Array.from({ length: 16 }, (_, i) => numbers[i] ?? 0);

    it('gives NaN for the rows of x with a NaN or an infinity, and for no others', async () => {
      for (const dtype of ['f32', 'bf16'] as const) {
        const rows = [
          row(1, 2),
          row(1, Number.NaN),
          row(3),
          row(Number.POSITIVE_INFINITY),
          row(0, Number.NEGATIVE_INFINITY),
        ];
        const nan = (await product(dtype, rows)).map((out) => out.filter(Number.isNaN).length);
        assert.deepEqual(nan, [0, 24, 0, 24, 24], dtype);
      }
    });

    it('gives the bias for a row of zeros and for one that is too small for a scale', async () => {
      const [zeros, tiny, least] = await product('f32', [row(), row(2 ** -140, -(2 ** -149)), row(2 ** -119)]);
      for (const out of [zeros, tiny, least]) assert.deepEqual(out, Array(24).fill(1));
    });

    it('packs a weight from f32, bf16 and f16, whole and in parts, to the same bytes', async () => {
      const [n, K] = [37, 33];
      const values = rounded(rounded(new Maker('f32', 4).random.uniform(n * K), 'bf16'), 'f16'); // the same in all three
      const bytes = device().tensorBytes(quantized, 'linear', [n, K]);
      const packed: Buffer[] = [];
      for (const stored of ['f32', 'bf16', 'f16'] as const) {
        const data = values.slice(); // files are known by their data
        for (const parts of [[n], [1, 30, 6]]) {
          const buffer = device().allocate(bytes);
          const weight: Operand = { dtype: quantized, shape: [n, K], layout: 'linear', data, stored, parts };
          assert.equal(await files.pack(device(), buffer, weight, 0), 0);
          packed.push(Buffer.from(await device().read(buffer, 0, bytes)));
          buffer.dispose();
        }
      }
      assert(packed.every((each) => each.equals(packed[0] ?? each)));
    });

    it('packs rows in the place of others, scales and all', async () => {
      const [n, K] = [19, 40];
      const random = new Maker('f32', 5).random;
      const [before, after] = [random.uniform(n * K), random.uniform(n * K, 7)];
      const mixed = before.map((value, i) => (i >= 4 * K && i < 15 * K ? Number(after[i]) : value));
      const bytes = device().tensorBytes(quantized, 'linear', [n, K]);
      const weight: Operand = { dtype: quantized, shape: [n, K], layout: 'linear' };
      const [replaced, whole] = [device().allocate(bytes), device().allocate(bytes)];
      await files.pack(device(), replaced, { ...weight, data: before }, 0);
      await files.pack(device(), whole, { ...weight, data: mixed }, 0);
      const file = files.open(after, 'f32');
      const source = { file, fileOffset: 4 * 4 * K, fileDtype: 'f32', rows: 11, rowElements: K } as const;
      const target = { dtype: quantized, layout: 'linear', offset: 0, shape: [n, K], pitch: K } as const;
      await device().pack({ ...source, buffer: replaced, target, firstRow: 4 });
      file.close();
      const [actual, expected] = await Promise.all([replaced, whole].map((buffer) => device().read(buffer, 0, bytes)));
      assert(actual && expected && Buffer.from(actual).equals(Buffer.from(expected)));
      for (const buffer of [replaced, whole]) buffer.dispose();
    });

    it('counts the NaN and infinite elements of a weight', async () => {
      const data = new Maker('f32', 6).random.uniform(37 * 300);
      data[0] = Number.NaN;
      data[data.length >> 1] = Number.POSITIVE_INFINITY;
      data[data.length - 1] = Number.NEGATIVE_INFINITY;
      const buffer = device().allocate(device().tensorBytes(quantized, 'linear', [37, 300]));
      for (const stored of ['f32', 'bf16', 'f16'] as const) {
        const weight: Operand = {
          dtype: quantized,
          shape: [37, 300],
          layout: 'linear',
          data: rounded(data, stored),
          stored,
        };
        assert.equal(await files.pack(device(), buffer, weight, 0), 3, stored);
      }
      buffer.dispose();
    });

    it('takes about one byte per element, and has no other layout', () => {
      const bytes = device().tensorBytes(quantized, 'linear', [1152, 2240]);
      assert(bytes >= 1152 * 2240 && bytes < 1.01 * 1152 * 2240, `${bytes} bytes`);
      for (const [layout, shape] of [
        ['gatedLinear', [2, 8]],
        ['conv2d', [2, 3, 3, 8]],
        ['upsampleConv2d', [2, 3, 3, 8]],
      ] as const) {
        assert.throws(() => device().tensorBytes(quantized, layout, shape), { code: 'ERR_SANA_PROGRAM' });
      }
    });
  }
});

describe('quantised rows of f8, bit by bit', () => {
  let files: WeightFiles;
  before(function () {
    files = new WeightFiles();
    if (machinesWithF8.length > 0) return;
    console.log('    skipped: no device here has products of f8');
    this.skip();
  });
  after(() => files.dispose());

  /** A packed weight's codes [n, pitch] and scales [n], from its own bytes. */
  async function packed(data: Float32Array, K: number, stored: 'f32' | 'bf16' | 'f16', parts?: readonly number[]) {
    const device = machinesWithF8[0]?.open(1) ?? assert.fail();
    const n = data.length / K;
    const bytes = device.tensorBytes('f8', 'linear', [n, K]);
    const [rows, pitch] = [Math.ceil(n / 8) * 8, Math.ceil(K / 16) * 16];
    assert.equal(bytes, rows * (pitch + 4));
    const buffer = device.allocate(bytes);
    const weight: Operand = { dtype: 'f8', shape: [n, K], layout: 'linear', data, stored, ...(parts && { parts }) };
    await files.pack(device, buffer, weight, 0);
    const read = Buffer.from(await device.read(buffer, 0, bytes));
    buffer.dispose();
    const scales = Array.from({ length: n }, (_, i) => read.readFloatLE(rows * pitch + 4 * i));
    return { pitch, codes: [...read.subarray(0, n * pitch)], scales };
  }

  /** The same by the reference. */
  function expected(data: Float32Array, K: number) {
    const { values, scales } = quantizeRows(data, K, 'f8');
    const pitch = Math.ceil(K / 16) * 16;
    const codes = Array.from({ length: scales.length * pitch }, (_, i) => {
      const [row, k] = [Math.floor(i / pitch), i % pitch];
      return k < K ? e4m3Code(values[row * K + k] ?? Number.NaN) : 0;
    });
    return { pitch, codes, scales: Array.from(scales) };
  }

  /** Every code, what lies halfway between two, and their neighbours, from 448 down: rows with a scale of 1. */
  function everything(): number[] {
    const codes = e4m3Values.filter((value) => !Number.isNaN(value));
    const sorted = [...new Set(codes)].sort((a, b) => a - b);
    const halves = sorted.slice(1).map((value, i) => (value + (sorted[i] ?? 0)) / 2);
    const next = (x: number, by: number) => {
      const word = new Int32Array(Float32Array.of(x).buffer);
      word[0] = (word[0] ?? 0) + by;
      return new Float32Array(word.buffer)[0] ?? 0;
    };
    return [...codes, ...halves.flatMap((x) => [x, next(x, 1), next(x, -1)])];
  }

  it('has all 256 codes in the right places', () => {
    assert.deepEqual(
      [0x00, 0x80, 0x01, 0x07, 0x08, 0x38, 0xb9, 0x7e, 0xfe].map((code) => e4m3Values[code]),
      [0, -0, 2 ** -9, 7 * 2 ** -9, 2 ** -6, 1, -1.125, 448, -448],
    );
    for (const [code, value] of e4m3Values.entries()) assert.equal(e4m3Code(value), code === 0xff ? 0x7f : code);
    const halves = [1.0625, 1.1875, 2 ** -10, 3 * 2 ** -10, 448 + 16, -1e9, Number.POSITIVE_INFINITY];
    assert.deepEqual(halves.map(e4m3Code), [0x38, 0x3a, 0x00, 0x02, 0x7e, 0xfe, 0x7e]);
  });

  it('packs every code, every half way between two and its neighbours, by both kernels', async () => {
    const all = everything();
    for (const K of [16, 15]) {
      // 16: copied as vectors; 15: element by element
      const rows = Math.ceil(all.length / (K - 1));
      const data = new Float32Array(rows * K);
      for (let row = 0; row < rows; row++) {
        data.set([448, ...all.slice(row * (K - 1), (row + 1) * (K - 1))], row * K);
      }
      const actual = await packed(data, K, 'f32');
      assert.deepEqual(actual, expected(data, K));
      assert(actual.scales.every((scale) => scale === 1));
      const codes = new Set(actual.codes);
      for (let code = 0; code < 256; code++) assert.equal(codes.has(code), code % 128 !== 127, `${code}`);
    }
  });

  it('packs rows of any size from f32, bf16 and f16 to the very bytes, scales and all', async () => {
    for (const stored of ['f32', 'bf16', 'f16'] as const) {
      for (const [n, K, parts] of [
        [1, 1, undefined],
        [37, 33, [1, 30, 6]],
        [9, 2240, undefined],
        [3, 272, undefined],
        [2, 17000, undefined],
      ] as const) {
        const random = new Maker('f32', 7).random;
        const data = rounded(
          random.uniform(n * K, 3).map((x, i) => x * 2 ** -(i % 13)),
          stored,
        );
        assert.deepEqual(await packed(data, K, stored, parts), expected(data, K), `${stored} [${n}, ${K}]`);
      }
    }
  });

  it('packs zeros if the scale would not be a normal number, and keeps the smallest normal scale', async () => {
    const K = 24;
    const least = 448 * 2 ** -126;
    const rows = [0, 2 ** -149, least * (1 - 2 ** -23), least, -least, 3e38];
    const data = Float32Array.from(rows.flatMap((most) => Array.from({ length: K }, (_, k) => most / (k + 1))));
    const actual = await packed(data, K, 'f32');
    assert.deepEqual(actual, expected(data, K));
    assert.deepEqual(actual.scales.slice(0, 5), [0, 0, 0, 2 ** -126, 2 ** -126]);
  });

  it('makes the same of x, through a weight that picks single elements', async () => {
    const device = machinesWithF8[0]?.open(1) ?? assert.fail();
    const all = everything();
    for (const K of [16, 15]) {
      const M = Math.ceil(all.length / (K - 1));
      const data = new Float32Array(M * K);
      for (let m = 0; m < M; m++) data.set([448, ...all.slice(m * (K - 1), (m + 1) * (K - 1))], m * K);
      const picks = new Float32Array(K * K).map((_, i) => (i % (K + 1) === 0 ? 448 : 0));
      const { values } = quantizeRows(data, K, 'f8');
      const example: Example = {
        op: 'linear',
        operands: {
          x: { dtype: 'f32', shape: [M, K], data },
          weight: { dtype: 'f8', shape: [K, K], layout: 'linear', data: picks },
          out: { dtype: 'f32', shape: [M, K] },
        },
        attributes: { activation: 'none', clip: 0 },
        expected: () => ({ out: values.map((value) => 448 * value) }),
        tolerance: 'exact',
      };
      assertExpected(example, await run(device, files, example), `K ${K}`);
    }
  });

  for (const machine of machinesWithF8) {
    // Products of small whole numbers: no sum needs more than 14 bits, so that no order and no rounding shows.
    it(`is a sum of products times two scales, to the bit, on ${machine.name}`, async () => {
      for (const dtype of machine.dtypes) {
        const random = new Maker(dtype, 8).random;
        for (const [M, N, K, most] of [
          [1, 1, 1, 7],
          [3, 5, 17, 7],
          [1, 40, 31, 7],
          [70, 65, 200, 7],
          [2, 33, 2240, 1],
        ] as const) {
          if (2 * M * N * K > machine.mostFlops) continue;
          const numbers = (rows: number) =>
            Float32Array.from({ length: rows * K }, (_, i) => (i % K === 0 ? most : random.integer(-most, most)));
          const [x, weight] = [numbers(M), numbers(N)];
          const out = Float64Array.from({ length: M * N }, (_, i) => {
            const [m, n] = [Math.floor(i / N), i % N];
            let sum = 0;
            for (let k = 0; k < K; k++) sum += Number(x[m * K + k]) * Number(weight[n * K + k]);
            // 7 is 448 / 64, exactly; 1 is 448 / 448.
            const scale = Math.fround(most / 448);
            return most === 7 ? sum : Math.fround(448 * 448 * sum) * Math.fround(scale * scale);
          });
          const example: Example = {
            op: 'linear',
            operands: {
              x: { dtype, shape: [M, K], data: x },
              weight: { dtype: 'f8', shape: [N, K], layout: 'linear', data: weight },
              out: { dtype: 'f32', shape: [M, N] },
            },
            attributes: { activation: 'none', clip: 0 },
            expected: () => ({ out }),
            tolerance: 'exact',
          };
          assertExpected(example, await run(machine.open(1), files, example), `${dtype} [${M}, ${N}, ${K}]`);
        }
      }
    });
  }

  it('is rejected in every other layout', () => {
    const device = machinesWithF8[0]?.open(1) ?? assert.fail();
    assert.throws(() => device.tensorBytes('f8', 'gatedLinear', [2, 8]), { code: 'ERR_SANA_PROGRAM' });
    assert.throws(() => device.tensorBytes('f8', 'conv2d', [2, 3, 3, 8]), { code: 'ERR_SANA_PROGRAM' });
  });
});
