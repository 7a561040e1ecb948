import { type ActivationName, linear } from '../reference/matrix.ts';
import type { Maker } from '../support/operands.ts';
import { type Example, testOperator } from '../support/operators.ts';

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
  const weight = make.activation([c.n, K], { ...packed, scale: 3 / Math.sqrt(K) });
  const bias = c.bias ? make.vector([c.n]) : undefined;
  const gate = c.gate ? make.vector([c.gate, c.n]) : undefined;
  // Where the output is a view, the residual is the same columns of as wide a tensor: the operator may overwrite it.
  const residual = c.residual ? make.activation(shape, { dtype, ...view(width, 5) }) : undefined;
  const out = make.out(shape, { dtype, ...view(width, 5) });
  const given = { ...(bias && { bias }), ...(gate && { gate }), ...(residual && { residual }) };
  const data = Object.fromEntries(Object.entries(given).map(([name, operand]) => [name, operand.data]));
  const expected = linear({ x: x.data, weight: weight.data, ...data, M, N: c.n, K, activation, clip, gated });
  return {
    op: 'linear',
    operands: { x, weight, ...given, out },
    attributes: { activation, clip },
    expected: { out: expected },
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
