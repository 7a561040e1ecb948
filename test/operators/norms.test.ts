import { type Activation, layerNormModulate, rmsNorm } from '../reference/vector.ts';
import type { Maker } from '../support/operands.ts';
import { type Example, testOperator } from '../support/operators.ts';

function layerNormExample(make: Maker, shape: readonly [number, number, number], mixed = false): Example {
  const [b, , c] = shape;
  const given = make.activation(shape, { scale: 2 });
  const x = { ...given, data: given.data.map((value) => value + (make.dtype === 'f32' ? 0.7 : 0)) }; // a mean
  const shift = make.vector([b, c]);
  const scale = make.vector([b, c]);
  const epsilon = 1e-6;
  return {
    op: 'layerNormModulate',
    operands: { x, shift, scale, out: make.out(shape, mixed ? { dtype: make.other } : {}) },
    attributes: { epsilon },
    expected: () => ({ out: layerNormModulate(x.data, shift.data, scale.data, shape, epsilon) }),
    items: { count: b },
  };
}

testOperator('layerNormModulate', (make) => [
  layerNormExample(make, [2, 33, 1152]),
  layerNormExample(make, [1, 5, 2240]),
  layerNormExample(make, [3, 7, 1152], true),
  layerNormExample(make, [2, 1, 1]),
  layerNormExample(make, [3, 2, 2]),
  layerNormExample(make, [1, 19, 7], true),
  layerNormExample(make, [2, 3, 257]),
  layerNormExample(make, [2, 9, 24], true),
  layerNormExample(make, [1, 3, 512]),
  layerNormExample(make, [1, 2, 16384]), // the most channels there may be
  layerNormExample(make, [1, 2, 16383], true),
]);

interface RmsCase {
  readonly x: readonly number[];
  readonly offset?: number;
  readonly epsilon?: number;
  readonly activation?: Activation;
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly views?: boolean; // x, residual and out are columns of wider tensors
  readonly mixed?: boolean;
}

function rmsExample(make: Maker, c: RmsCase): Example {
  const { x: shape, offset = 0, epsilon = 1e-6, activation = 'none' } = c;
  const channels = shape.at(-1) ?? 1;
  const dtype = c.mixed ? make.other : make.dtype;
  const view = c.views ? { columns: { first: 3, of: channels + 9 } } : {};
  const x = make.activation(shape, view);
  const weight = make.vector([channels]);
  const bias = c.bias ? make.vector([channels]) : undefined;
  const residual = c.residual ? make.activation(shape, { dtype, ...view }) : undefined;
  const options = { epsilon, offset, activation };
  return {
    op: 'rmsNorm',
    operands: {
      x,
      weight,
      ...(bias && { bias }),
      ...(residual && { residual }),
      out: make.out(shape, { dtype, ...view }),
    },
    attributes: options,
    expected: () => ({ out: rmsNorm(x.data, weight.data, bias?.data, residual?.data, options) }),
    ...(shape.length > 1 && { items: { count: shape[0] ?? 1, shared: ['weight', 'bias'] } }),
  };
}

const all = { bias: true, residual: true } as const;

testOperator('rmsNorm', (make) =>
  (
    [
      { x: [5, 2304], offset: 1, residual: true },
      { x: [2, 17, 1152], views: true },
      { x: [1, 4, 5, 512], ...all, epsilon: 1e-5 },
      { x: [3, 128], bias: true, activation: 'relu' },
      { x: [40, 2240] },
      { x: [1], epsilon: 0.5 },
      { x: [7, 1], ...all },
      { x: [33, 7], ...all, offset: 1, activation: 'silu', views: true },
      { x: [2, 3, 67], ...all, activation: 'gelu-tanh', mixed: true, views: true },
      { x: [9, 31], bias: true, mixed: true },
      { x: [37, 16], ...all, activation: 'silu' }, // many short rows
      { x: [21, 256], ...all, mixed: true },
      { x: [6, 1024], ...all },
      { x: [2, 16384], residual: true }, // the most channels there may be
      { x: [2, 16383], ...all, activation: 'gelu-tanh', views: true },
    ] satisfies readonly RmsCase[]
  ).map((c) => rmsExample(make, c)),
);
