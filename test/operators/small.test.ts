import {
  type Activation,
  activation,
  convert,
  countNonFinite,
  modulation,
  rotaryEmbedding,
  solverStep,
  tanhClamp,
  timestepEmbedding,
  transpose,
} from '../reference/vector.ts';
import { tolerances } from '../support/golden.ts';
import { type Maker, type Operand, rounded } from '../support/operands.ts';
import { type Example, testOperator } from '../support/operators.ts';

interface RotaryCase {
  readonly tokens: number;
  readonly heads: number;
  readonly half: number; // D / 2
  readonly rest?: number; // channels behind the heads
  readonly views?: boolean;
  readonly mixed?: boolean;
}

function rotaryExample(make: Maker, c: RotaryCase): Example {
  const { tokens, heads, half, rest = 0, views } = c;
  const channels = heads * 2 * half + rest;
  const view = views ? { columns: { first: 1, of: channels + 2 } } : {};
  const x = make.activation([tokens, channels], view);
  const angles = make.vector([tokens, half], Math.PI);
  const cos = { ...angles, data: angles.data.map(Math.cos) };
  const sin = { ...angles, data: angles.data.map(Math.sin) };
  return {
    op: 'rotaryEmbedding',
    operands: { x, cos, sin, out: make.out(x.shape, { ...view, ...(c.mixed && { dtype: make.other }) }) },
    attributes: { heads },
    expected: () => ({ out: rotaryEmbedding(x.data, cos.data, sin.data, [tokens, channels], heads) }),
    items: { count: tokens },
  };
}

testOperator('rotaryEmbedding', (make) => [
  rotaryExample(make, { tokens: 9, heads: 12, half: 128, rest: 4 * 256 }),
  rotaryExample(make, { tokens: 3, heads: 1, half: 1 }),
  rotaryExample(make, { tokens: 2, heads: 3, half: 8, rest: 24, mixed: true }),
  rotaryExample(make, { tokens: 5, heads: 3, half: 7, rest: 5, views: true }),
  rotaryExample(make, { tokens: 2, heads: 2, half: 33, rest: 1, mixed: true }),
]);

function timestepExample(make: Maker, timesteps: readonly number[], channels: number): Example {
  const timestep: Operand = { dtype: 'f32', shape: [timesteps.length], data: Float32Array.from(timesteps) };
  return {
    op: 'timestepEmbedding',
    operands: { timestep, out: make.out([timesteps.length, channels]) },
    expected: () => ({ out: timestepEmbedding(timesteps, channels) }),
    items: { count: timesteps.length },
    tolerance: tolerances.timestepEmbedding, // angles up to 1000 have the last bit of an f32 frequency
  };
}

testOperator('timestepEmbedding', (make) => [
  timestepExample(make, [1000, 873.5, 1], 256),
  timestepExample(make, [0], 2),
  timestepExample(make, [499.25, 0.001], 66),
]);

function modulationExample(make: Maker, b: number, r: number, rows: number, c: number): Example {
  const table = make.vector([r, c]);
  const embedding = make.activation([b, rows * c]);
  return {
    op: 'modulation',
    operands: { table, embedding, out: { dtype: 'f32', shape: [r, b, c] } },
    expected: () => ({ out: modulation(table.data, embedding.data, b, c) }),
  };
}

testOperator('modulation', (make) => [
  modulationExample(make, 2, 28 * 6, 6, 1152), // every block's shifts, scales and gates
  modulationExample(make, 1, 2, 1, 2240), // the last layer's
  modulationExample(make, 3, 6, 3, 7),
  modulationExample(make, 1, 1, 1, 1),
]);

function activationExample(make: Maker, shape: readonly number[], kind: Activation, mixed = false): Example {
  const x = make.activation(shape, { scale: 8 });
  return {
    op: 'activation',
    operands: { x, out: make.out(shape, mixed ? { dtype: make.other } : {}) },
    attributes: { activation: kind },
    expected: () => ({ out: activation(x.data, kind) }),
  };
}

testOperator('activation', (make) =>
  (['none', 'silu', 'gelu-tanh', 'relu'] as const).flatMap((kind) => [
    activationExample(make, [3, 1152], kind),
    activationExample(make, [1], kind),
    activationExample(make, [2, 3, 31], kind, true),
  ]),
);

function tanhClampExample(make: Maker, shape: readonly number[], limit: number, mixed = false): Example {
  const x = make.activation(shape, { scale: 4 * limit });
  return {
    op: 'tanhClamp',
    operands: { x, out: make.out(shape, mixed ? { dtype: make.other } : {}) },
    attributes: { limit },
    expected: () => ({ out: tanhClamp(x.data, limit) }),
  };
}

testOperator('tanhClamp', (make) => [
  tanhClampExample(make, [3, 1152], 3),
  tanhClampExample(make, [1], 0.25),
  tanhClampExample(make, [2, 3, 31], 30, true),
  {
    op: 'tanhClamp',
    operands: {
      x: {
        dtype: make.dtype,
        shape: [7],
        data: Float32Array.of(1 / 0, -1 / 0, Number.NaN, 0, 2 ** 15, -(2 ** 15), -0),
      },
      out: make.out([7]),
    },
    attributes: { limit: 3 },
    expected: () => ({ out: [3, -3, Number.NaN, 0, 3, -3, 0] }),
    tolerance: 'exact',
  },
]);

interface ConvertCase {
  readonly x: readonly number[];
  readonly scale?: number;
  readonly repeat?: number;
  readonly views?: boolean;
  readonly mixed?: boolean;
}

function convertExample(make: Maker, c: ConvertCase): Example {
  const { scale = 1, repeat = 1 } = c;
  const [first = 1, ...rest] = c.x;
  const width = c.x.at(-1) ?? 1;
  const view = (of: number) => (c.views ? { columns: { first: 3, of } } : {});
  const x = make.activation(c.x, { scale: 100, ...view(width + 5) });
  // Of as wide a tensor as x where the operator may overwrite it.
  const out = make.out([repeat * first, ...rest], {
    ...view(width + (c.mixed ? 8 : 5)),
    ...(c.mixed && { dtype: make.other }),
  });
  return {
    op: 'convert',
    operands: { x, out },
    attributes: { scale, repeat },
    expected: () => ({ out: convert(x.data, Math.fround(scale), repeat) }),
    tolerance: 'exact',
  };
}

testOperator('convert', (make) => [
  convertExample(make, { x: [1], mixed: true }),
  convertExample(make, { x: [7, 1152], mixed: true }),
  convertExample(make, { x: [2, 16, 33], repeat: 2 }), // a batch twice over, for guidance
  convertExample(make, { x: [5, 31], scale: 48, views: true }),
  convertExample(make, { x: [3, 4, 17], scale: -0.5, repeat: 3, views: true, mixed: true }),
  convertExample(make, { x: [67, 1], repeat: 2 }),
  convertExample(make, { x: [9, 2304], views: true, mixed: true }),
]);

function transposeExample(make: Maker, shape: readonly [number, number, number], mixed = false): Example {
  const [b, r, c] = shape;
  const x = make.activation(shape);
  return {
    op: 'transpose',
    operands: { x, out: make.out([b, c, r], mixed ? { dtype: make.other } : {}) },
    expected: () => ({ out: transpose(x.data, shape) }),
    items: { count: b },
    tolerance: 'exact',
  };
}

testOperator('transpose', (make) => [
  transposeExample(make, [2, 32, 40 * 33]),
  transposeExample(make, [1, 1024, 3]),
  transposeExample(make, [1, 1, 1]),
  transposeExample(make, [3, 67, 5], true),
  transposeExample(make, [2, 1, 130]),
  transposeExample(make, [1, 65, 33]),
]);

function solverExample(make: Maker, shape: readonly number[], parts: number, plain = false): Example {
  const [b = 1, ...rest] = shape;
  const velocity = make.activation([parts * b, ...rest]);
  const given = make.vector([7], 3);
  // [g, p, q, a, b, c, w]; plain: one explicit step, x + q v
  const coefficients = plain ? { ...given, data: Float32Array.of(0, 1, -0.25, 0, 1, 0, 0) } : given;
  const latents = make.vector(shape);
  const previous = make.vector(shape);
  return {
    op: 'solverStep',
    operands: { velocity, coefficients, latents, previous },
    expected: () => solverStep(velocity.data, coefficients.data, latents.data, previous.data),
    tolerance: 'exact',
  };
}

testOperator('solverStep', (make) => [
  solverExample(make, [2, 64, 32], 2),
  solverExample(make, [1, 300, 32], 1),
  solverExample(make, [1, 1, 1], 2),
  solverExample(make, [3, 5, 7], 2),
  solverExample(make, [2, 5, 67], 3),
  solverExample(make, [2, 1, 67], 1, true),
]);

function countExample(make: Maker, shape: readonly number[], values: Readonly<Record<number, number>>): Example {
  const given = make.activation(shape, { scale: make.dtype === 'f16' ? 6e4 : 1e30 });
  for (const [at, value] of Object.entries(values)) given.data[Number(at)] = value;
  const x = { ...given, data: rounded(given.data, make.dtype) };
  const out = { dtype: 'i32', shape: [1] } as const;
  return {
    op: 'countNonFinite',
    operands: { x, out },
    expected: () => ({ out: [countNonFinite(x.data)] }),
    tolerance: 'exact',
  };
}

const negative = Number.NEGATIVE_INFINITY;

testOperator('countNonFinite', (make) => [
  countExample(make, [5000], {}),
  countExample(make, [1], { 0: Number.NaN }),
  countExample(make, [33, 1000], { 0: 1 / 0, 32999: negative, 17: Number.NaN, 16384: Number.NaN, 16385: negative }),
  countExample(make, [67], { 64: 1 / 0, 66: Number.NaN, 3: 2 ** 127 * 1.9, 4: 2 ** -149, 5: -0 }),
]);
