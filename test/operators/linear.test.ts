import assert from 'node:assert/strict';
import { type ActivationName, linear, type Quantized } from '../reference/matrix.ts';
import { testDevice } from '../support/device.ts';
import { type Activation, Maker, type Operand } from '../support/operands.ts';
import {
  assertExpected,
  deviceOn,
  type Example,
  machinesWithF8,
  nameOf,
  paths,
  run,
  testOperator,
  WeightFiles,
} from '../support/operators.ts';

interface LinearCase {
  readonly x: readonly number[]; // [..., K]
  readonly n: number; // rows of the weight
  readonly bias?: boolean;
  readonly gate?: number; // its rows
  readonly residual?: boolean;
  readonly activation?: ActivationName;
  readonly clip?: number;
  readonly gated?: boolean;
  readonly views?: boolean; // x, residual and out are columns of wider tensors
  readonly mixed?: boolean; // out and residual are of the other dtype
  readonly parts?: readonly number[]; // the weight is stacked from tensors of so many rows
  readonly quantized?: Quantized; // the weight
}

/** Weights keep the outputs near 1. */
function linearExample(make: Maker, c: LinearCase): Example {
  const { activation = 'none', clip = 0, gated = false } = c;
  const K = c.x.at(-1) ?? 1;
  const M = c.x.reduce((product, size) => product * size, 1) / K;
  const view = (width: number, first: number) => (c.views ? { columns: { first, of: width + first + 3 } } : {});
  const dtype = c.mixed ? make.other : make.dtype;
  const shape = [...c.x.slice(0, -1), gated ? c.n / 2 : c.n];
  const width = shape.at(-1) ?? 1;
  const x = make.activation(c.x, view(K, 1));
  const layout = gated ? 'gatedLinear' : 'linear';
  const packed = c.parts ? ({ layout, parts: c.parts } as const) : ({ layout } as const);
  const quantized = c.quantized ? ({ dtype: c.quantized } as const) : {};
  const weight = make.activation([c.n, K], { ...packed, ...quantized, scale: 3 / Math.sqrt(K) });
  const bias = c.bias ? make.vector([c.n]) : undefined;
  const gate = c.gate ? make.vector([c.gate, c.n]) : undefined;
  // Where the output is a view, the residual is the same columns of as wide a tensor: the operator may overwrite it.
  const residual = c.residual ? make.activation(shape, { dtype, ...view(width, 5) }) : undefined;
  const out = make.out(shape, { dtype, ...view(width, 5) });
  const given = { ...(bias && { bias }), ...(gate && { gate }), ...(residual && { residual }) };
  const data = Object.fromEntries(Object.entries(given).map(([name, operand]) => [name, operand.data]));
  const sizes = { M, N: c.n, K };
  const options = { activation, clip, gated, quantized: c.quantized };
  return {
    op: 'linear',
    operands: { x, weight, ...given, out },
    attributes: { activation, clip },
    expected: () => ({ out: linear({ x: x.data, weight: weight.data, ...data, ...sizes, ...options }) }),
    items: { count: c.gate ?? (c.x.length > 1 ? (c.x[0] ?? 1) : 1), shared: ['bias'] },
  };
}

const all = { bias: true, residual: true } as const;

const cases: readonly LinearCase[] = [
  // the transformer's: projections, the mix of the feed-forward, patches, timesteps and captions
  { x: [3, 5, 1152], n: 1152, ...all, gate: 3, activation: 'silu' },
  { x: [2, 1, 1152], n: 5760, bias: true, activation: 'silu' },
  { x: [1, 3, 2880], n: 1152, gate: 1, residual: true },
  { x: [2, 2240], n: 560, ...all, gate: 2, clip: 2 },
  { x: [2, 32, 32], n: 1152, bias: true },
  { x: [3, 2304], n: 288, bias: true, activation: 'gelu-tanh' },
  { x: [9, 1152], n: 128 + 72 + 56, bias: true, parts: [128, 72, 56] },
  { x: [66, 1152], n: 32, bias: true, mixed: true },
  // the text encoder's
  { x: [1, 2304], n: 512, parts: [256, 128, 128] },
  { x: [5, 2048], n: 576, residual: true, views: true },
  { x: [3, 2304], n: 576, gated: true, activation: 'gelu-tanh' },
  // the autoencoder's: 1x1 convolutions and attention on maps
  { x: [1, 5, 4, 1024], n: 96, residual: true, views: true },
  // more rows than a task takes, in one pass over the channels and in several
  { x: [400, 96], n: 65, ...all },
  { x: [195, 1100], n: 35, bias: true, activation: 'relu' },
  { x: [2, 9001], n: 33 },
  // the smallest, and no multiple of anything
  { x: [1, 1], n: 1, ...all, gate: 1, activation: 'relu' },
  { x: [1, 7], n: 3, ...all, clip: 0.5 },
  { x: [17, 33], n: 31, ...all, gate: 17, activation: 'gelu-tanh', views: true },
  { x: [2, 3, 5, 19], n: 67, bias: true, gate: 2, activation: 'silu', clip: 0.25, views: true },
  { x: [13, 64], n: 33, ...all, mixed: true, views: true },
  { x: [14, 2], n: 100, gate: 7, mixed: true },
  { x: [6, 50], n: 1 + 15 + 33 + 2, parts: [1, 15, 33, 2] },
  // rows that GPUs copy 16 bytes at a time, and yet no multiples of a tile, of a step of K, of a split
  { x: [1, 8], n: 1, ...all },
  { x: [130, 72], n: 9, ...all, gate: 13, clip: 1 },
  { x: [3, 1000], n: 137, residual: true, activation: 'silu' },
  { x: [33, 456], n: 2 * 67, gated: true, activation: 'silu' },
  // gated weights whose halves are no multiple of a panel
  { x: [1, 1], n: 2, gated: true },
  { x: [5, 40], n: 12, gated: true, activation: 'silu', views: true },
  { x: [29, 31], n: 34, gated: true, activation: 'relu', mixed: true },
  { x: [7, 130], n: 202, gated: true, activation: 'gelu-tanh', parts: [101, 101] },
  { x: [3, 16], n: 64, gated: true, parts: [3, 30, 31] },
];

testOperator('linear', (make) => cases.map((c) => linearExample(make, c)));

const quantizedCases: readonly LinearCase[] = [
  // the transformer's: projections, the two of the feed-forward
  { x: [3, 5, 1152], n: 1152, ...all, gate: 3 },
  { x: [2, 7, 2240], n: 560, ...all, gate: 2, clip: 2 },
  { x: [2, 3, 1152], n: 1440, bias: true, activation: 'silu' },
  { x: [1, 3, 2880], n: 1152, gate: 1, residual: true },
  { x: [9, 1152], n: 128 + 72 + 56, bias: true, parts: [128, 72, 56] },
  // more rows than a task takes, in one pass over the channels and in several
  { x: [400, 96], n: 65, ...all },
  { x: [395, 4700], n: 35, bias: true, activation: 'relu' },
  { x: [2, 9001], n: 33 },
  // the smallest, no multiple of four, of a panel, of a vector
  { x: [1, 1], n: 1, ...all, gate: 1, activation: 'relu' },
  { x: [1, 7], n: 3, ...all, clip: 0.5 },
  { x: [17, 33], n: 31, ...all, gate: 17, activation: 'gelu-tanh', views: true },
  { x: [2, 3, 5, 19], n: 67, bias: true, gate: 2, activation: 'silu', clip: 0.25, views: true },
  { x: [13, 64], n: 33, ...all, mixed: true, views: true },
  { x: [14, 2], n: 100, gate: 7, mixed: true },
  { x: [6, 50], n: 1 + 15 + 33 + 2, parts: [1, 15, 33, 2] },
  { x: [29, 131], n: 96, residual: true, views: true },
  // rows that GPUs read 16 bytes at a time, those that they pad to 16 bytes of i8 or f8
  { x: [2, 2240], n: 560, ...all, gate: 2, clip: 2 },
  { x: [130, 72], n: 9, ...all, gate: 13, clip: 1 },
  { x: [195, 1100], n: 35, bias: true, activation: 'relu' },
  { x: [70, 16], n: 70 },
  { x: [4, 8], n: 9, residual: true },
  { x: [3, 15], n: 8, residual: true },
  { x: [3, 17], n: 9, bias: true, gate: 3 },
  { x: [5, 2048], n: 76, residual: true, views: true },
  { x: [6, 40], n: 5, residual: true, mixed: true, activation: 'gelu-tanh' },
  { x: [1, 20000], n: 3, bias: true }, // longer than a block's registers hold
];

describe('linear with a weight of i8', () => {
  testOperator('linear', (make) => quantizedCases.map((c) => linearExample(make, { ...c, quantized: 'i8' })));

  if (testDevice === 'cpu') onPathsOfTheCpu();
});

/** What sums of integers promise on every instruction set. */
function onPathsOfTheCpu(): void {
  let files: WeightFiles;
  before(() => {
    files = new WeightFiles();
  });
  after(() => files.dispose());

  /** A product of these rows, and nothing else. */
  function plainExample(dtype: Activation, x: Float32Array, weight: Float32Array, K: number): Example {
    const [M, N] = [x.length / K, weight.length / K];
    const operands: Record<string, Operand> = {
      x: { dtype, shape: [M, K], data: x },
      weight: { dtype: 'i8', layout: 'linear', shape: [N, K], data: weight },
      out: { dtype: 'f32', shape: [M, N] },
    };
    const expected = () => ({ out: linear({ x, weight, M, N, K, quantized: 'i8' }) });
    return { op: 'linear', operands, attributes: { activation: 'none', clip: 0 }, expected };
  }

  it('gives the same bits on every instruction set', async () => {
    const exact = quantizedCases.filter(({ activation = 'none' }) => activation === 'none' || activation === 'relu');
    for (const dtype of ['f32', 'bf16'] as const) {
      for (const c of exact) {
        const example = linearExample(new Maker(dtype), { ...c, quantized: 'i8' });
        const outcomes = await Promise.all(paths.map((path) => run(deviceOn(path, 2), files, example)));
        for (const [i, { bytes }] of outcomes.entries()) {
          const same = outcomes[0]?.bytes.out?.equals(bytes.out ?? Buffer.alloc(0));
          assert(same, `${nameOf(example)}: ${paths[i]} has other bits than ${paths[0]}`);
        }
      }
    }
  });

  for (const path of paths) {
    describe(`on ${path}`, () => {
      it('sums as many products of the largest bytes as it may, in both signs', async () => {
        const K = 131072;
        const ones = new Float32Array(K).fill(1);
        const x = Float32Array.from([...ones, ...ones.fill(-1)]);
        const example = plainExample('f32', x, new Float32Array(K).fill(-3), K);
        const outcome = await run(deviceOn(path, 2), files, example);
        assertExpected(example, outcome, 'products of -127 and 127');
      });

      it('rounds halves to even', async () => {
        const K = 8;
        const x = Float32Array.of(127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 63.5);
        const weight = new Float32Array(K * K).map((_, i) => (i % (K + 1) === 0 ? 127 : 0)); // the bytes themselves
        const outcome = await run(deviceOn(path, 1), files, plainExample('f32', x, weight, K));
        assert.deepEqual(
          [...(outcome.values.out ?? [])].map((value) => Math.round(value / 127)),
          [127, 0, 2, 2, 0, -2, -2, 64],
        );
      });

      it('makes NaN of a row with a NaN or an infinity, and of that row only', async () => {
        const [M, N, K] = [9, 40, 70];
        for (const dtype of ['f32', 'bf16'] as const) {
          const make = new Maker(dtype);
          const { data: x } = make.activation([M, K]);
          const { data: weight } = make.vector([N, K]);
          x[1 * K] = Number.NaN;
          x[4 * K + 37] = Number.POSITIVE_INFINITY;
          x[7 * K + K - 1] = Number.NEGATIVE_INFINITY;
          const { values } = await run(deviceOn(path, 1), files, plainExample(dtype, x, weight, K));
          const found = Array.from(values.out ?? [], (value) => Number.isNaN(value));
          assert.deepEqual(
            found,
            Array.from({ length: M * N }, (_, i) => [1, 4, 7].includes(Math.floor(i / N))),
          );
        }
      });

      it('makes zero of rows of zeros, and of rows that are too small for a scale', async () => {
        const [N, K] = [3, 10];
        const rows = [0, 1, 2 ** -149, 2 ** -126, 127 * 2 ** -127, 127 * 2 ** -126]; // the last has a scale
        const x = Float32Array.from(rows.flatMap((value) => new Array<number>(K).fill(value)));
        const weight = Float32Array.from({ length: N * K }, (_, i) => (i < K ? 0 : i < 2 * K ? 1 : 2 ** -130));
        const { values } = await run(deviceOn(path, 1), files, plainExample('f32', x, weight, K));
        const products = [...(values.out ?? [])];
        const [one, least] = [products[3 + 1] ?? 0, products[5 * N + 1] ?? 0];
        assert(Math.abs(one - K) < 1e-5 && Math.abs(least - K * 127 * 2 ** -126) < 2 ** -130);
        assert.deepEqual(
          products,
          rows.flatMap((_, i) => [0, i === 1 ? one : i === 5 ? least : 0, 0]),
        );
      });
    });
  }
}

// Sums are of f32 and in the emulation rounded as such after every product: the tolerance is that of f32.
describe('linear with a weight of f8', () => {
  testOperator(
    'linear',
    (make) => quantizedCases.map((c) => linearExample(make, { ...c, quantized: 'f8' })),
    machinesWithF8,
  );
});
