import assert from 'node:assert/strict';
import { quantizeRows } from '../reference/matrix.ts';
import { Maker, type Operand, rounded } from '../support/operands.ts';
import { assertExpected, type Example, machines, run, WeightFiles } from '../support/operators.ts';

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
            expected: { out },
            tolerance: 'exact',
          };
          assertExpected(example, await run(machine.open(1), files, example), `${dtype} [${M}, ${N}, ${K}]`);
        }
      }
    });
  }

  const [machine] = machines;
  assert(machine);
  const device = () => machine.open(1);

  /** x [rows, 16] times a weight of 24 rows, and a bias of ones. */
  async function product(dtype: 'f32' | 'bf16', rows: readonly (readonly number[])[]): Promise<number[][]> {
    const make = new Maker(dtype, 3);
    const x: Operand = { dtype, shape: [rows.length, 16], data: Float32Array.from(rows.flat()) };
    const weight = make.activation([24, 16], { dtype: 'i8', layout: 'linear' });
    const bias: Operand = { dtype: 'f32', shape: [24], data: new Float32Array(24).fill(1) };
    const out = new Float32Array(rows.length * 24); // only its place is looked at
    const operands = { x, weight, bias, out: make.out([rows.length, 24]) };
    const attributes = { activation: 'none', clip: 3 };
    const { values } = await run(device(), files, { op: 'linear', operands, attributes, expected: { out } });
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
    const bytes = device().tensorBytes('i8', 'linear', [n, K]);
    const packed: Buffer[] = [];
    for (const stored of ['f32', 'bf16', 'f16'] as const) {
      const data = values.slice(); // files are known by their data
      for (const parts of [[n], [1, 30, 6]]) {
        const buffer = device().allocate(bytes);
        const weight: Operand = { dtype: 'i8', shape: [n, K], layout: 'linear', data, stored, parts };
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
    const bytes = device().tensorBytes('i8', 'linear', [n, K]);
    const weight: Operand = { dtype: 'i8', shape: [n, K], layout: 'linear' };
    const [replaced, whole] = [device().allocate(bytes), device().allocate(bytes)];
    await files.pack(device(), replaced, { ...weight, data: before }, 0);
    await files.pack(device(), whole, { ...weight, data: mixed }, 0);
    const file = files.open(after, 'f32');
    const source = { file, fileOffset: 4 * 4 * K, fileDtype: 'f32', rows: 11, rowElements: K } as const;
    const target = { dtype: 'i8', layout: 'linear', offset: 0, shape: [n, K], pitch: K } as const;
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
    const buffer = device().allocate(device().tensorBytes('i8', 'linear', [37, 300]));
    for (const stored of ['f32', 'bf16', 'f16'] as const) {
      const weight: Operand = { dtype: 'i8', shape: [37, 300], layout: 'linear', data: rounded(data, stored), stored };
      assert.equal(await files.pack(device(), buffer, weight, 0), 3, stored);
    }
    buffer.dispose();
  });

  it('takes about a byte per element, and no other layout', () => {
    const bytes = device().tensorBytes('i8', 'linear', [1152, 2240]);
    assert(bytes >= 1152 * 2240 && bytes < 1.01 * 1152 * 2240, `${bytes} bytes`);
    for (const [layout, shape] of [
      ['gatedLinear', [2, 8]],
      ['conv2d', [2, 3, 3, 8]],
      ['upsampleConv2d', [2, 3, 3, 8]],
    ] as const) {
      assert.throws(() => device().tensorBytes('i8', layout, shape), { code: 'ERR_SANA_PROGRAM' });
    }
  });
});
