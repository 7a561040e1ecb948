import { type ActivationName, conv2d, upsampleConv2d } from '../reference/matrix.ts';
import { depthwiseConvGlu, multiScaleProject } from '../reference/vector.ts';
import type { Maker } from '../support/operands.ts';
import { type Example, testOperator } from '../support/operators.ts';

type Image = readonly [batch: number, height: number, width: number, channels: number];

interface ConvCase {
  readonly x: Image;
  readonly o: number; // output channels
  readonly kernel?: readonly [height: number, width: number];
  readonly stride?: number;
  readonly bias?: boolean;
  readonly residual?: boolean;
  readonly activation?: ActivationName;
  readonly mixed?: boolean; // out and residual are of the other dtype
}

const all = { bias: true, residual: true } as const;

/** The operands that conv2d and upsampleConv2d have in common. */
function convolution(make: Maker, c: ConvCase, out: Image, layout: 'conv2d' | 'upsampleConv2d') {
  const [height, width] = c.kernel ?? [3, 3];
  const I = c.x[3];
  const dtype = c.mixed ? make.other : make.dtype;
  const x = make.activation(c.x);
  const scale = 3 / Math.sqrt(height * width * I);
  // The checkpoint's order is [O, I, kh, kw]; the shape is the operator's.
  const weight = make.activation([c.o, height, width, I], { layout, scale });
  const bias = c.bias ? make.vector([c.o]) : undefined;
  const residual = c.residual ? make.activation(out, { dtype }) : undefined;
  const given = { ...(bias && { bias }), ...(residual && { residual }) };
  const data = Object.fromEntries(Object.entries(given).map(([name, operand]) => [name, operand.data]));
  const [B, H, W] = c.x;
  return {
    operands: { x, weight, ...given, out: make.out(out, { dtype }) },
    reference: { x: x.data, weight: weight.data, ...data, B, height: H, width: W, I, O: c.o },
  };
}

function convExample(make: Maker, c: ConvCase): Example {
  const { kernel = [3, 3], stride = 1, activation = 'none' } = c;
  const [B, H, W] = c.x;
  const out: Image = [B, Math.ceil(H / stride), Math.ceil(W / stride), c.o];
  const { operands, reference } = convolution(make, c, out, 'conv2d');
  const [kernelHeight, kernelWidth] = kernel;
  return {
    op: 'conv2d',
    operands,
    attributes: { stride, activation },
    expected: () => ({ out: conv2d({ ...reference, kernelHeight, kernelWidth, stride, activation }) }),
    items: { count: B, shared: ['bias'] },
  };
}

testOperator('conv2d', (make) =>
  (
    [
      // the autoencoder's: first and last, the widths between, downsampling; the transformer's first 3x3 of ControlNet
      { x: [1, 5, 4, 32], o: 1024, bias: true },
      { x: [1, 7, 6, 128], o: 128, bias: true, activation: 'silu' },
      { x: [1, 3, 2, 512], o: 256, ...all },
      { x: [1, 3, 2, 1024], o: 96, bias: true },
      { x: [2, 7, 9, 128], o: 3, bias: true },
      { x: [1, 9, 11, 3], o: 128, bias: true },
      { x: [1, 6, 8, 128], o: 256, ...all, stride: 2 },
      // wider and higher than a task, and more channels than a pass
      { x: [1, 2, 140, 5], o: 7, bias: true },
      { x: [1, 43, 17, 3], o: 33, residual: true },
      { x: [1, 5, 6, 600], o: 34, ...all, activation: 'relu' },
      // the smallest, odd sides, odd channels, every stride and kernel
      { x: [1, 1, 1, 1], o: 1, ...all },
      { x: [3, 1, 5, 2], o: 5, activation: 'gelu-tanh' },
      { x: [2, 5, 1, 19], o: 31, ...all, mixed: true },
      { x: [2, 7, 9, 6], o: 10, ...all, stride: 2, activation: 'silu' },
      { x: [1, 1, 1, 9], o: 4, stride: 2 },
      { x: [1, 8, 3, 16], o: 64, bias: true, stride: 2, mixed: true },
      { x: [3, 6, 5, 13], o: 33, ...all, kernel: [1, 1] },
      { x: [1, 6, 5, 8], o: 3, bias: true, kernel: [1, 1], stride: 2 },
      { x: [1, 4, 9, 3], o: 5, ...all, kernel: [1, 3] },
      { x: [1, 9, 4, 3], o: 5, bias: true, kernel: [7, 1], stride: 2 },
      { x: [2, 6, 7, 4], o: 9, bias: true, kernel: [5, 5] },
      { x: [1, 3, 2, 3], o: 2, bias: true, kernel: [15, 15] },
      // pixels that GPUs copy 16 bytes at a time, several taps to a step of K
      { x: [2, 17, 9, 8], o: 17, ...all, kernel: [5, 3], stride: 2 },
      { x: [2, 19, 2, 40], o: 9, bias: true, kernel: [15, 1] },
    ] satisfies readonly ConvCase[]
  ).map((c) => convExample(make, c)),
);

/** The kernel multiplies with sums of taps, which 16-bit weights round: as large an error as the output's rounding. */
const foldedTaps = {
  f32: {},
  bf16: { tolerance: { maxAbs: 2e-2, relL2: 2e-3 } },
  f16: { tolerance: { maxAbs: 2.5e-3, relL2: 2.5e-4 } }, // three bits more
};

function upsampleExample(make: Maker, c: ConvCase): Example {
  const [B, H, W] = c.x;
  const { operands, reference } = convolution(make, c, [B, 2 * H, 2 * W, c.o], 'upsampleConv2d');
  return {
    op: 'upsampleConv2d',
    operands,
    expected: () => ({ out: upsampleConv2d(reference) }),
    items: { count: B, shared: ['bias'] },
    ...foldedTaps[make.dtype],
  };
}

testOperator('upsampleConv2d', (make) =>
  (
    [
      { x: [1, 2, 2, 1024], o: 64, ...all },
      { x: [1, 3, 2, 256], o: 128, bias: true },
      { x: [1, 4, 3, 128], o: 128, ...all },
      { x: [1, 1, 1, 1], o: 1 },
      { x: [3, 1, 4, 3], o: 3, ...all },
      { x: [2, 5, 1, 33], o: 31, bias: true, mixed: true },
      { x: [1, 2, 131, 2], o: 5, residual: true },
      { x: [1, 41, 15, 3], o: 35, ...all },
      { x: [2, 7, 5, 24], o: 19, ...all },
    ] satisfies readonly ConvCase[]
  ).map((c) => upsampleExample(make, c)),
);

function gluExample(make: Maker, shape: Image, out = make.dtype): Example {
  const [b, h, w, c] = shape;
  const x = make.activation(shape);
  const weight = make.vector([c, 3, 3]);
  const bias = make.vector([c]);
  return {
    op: 'depthwiseConvGlu',
    operands: { x, weight: { ...weight, layout: 'depthwise' }, bias, out: make.out([b, h, w, c / 2], { dtype: out }) },
    expected: () => ({ out: depthwiseConvGlu(x.data, weight.data, bias.data, shape) }),
    items: { count: b, shared: ['bias'] },
  };
}

testOperator('depthwiseConvGlu', (make) => [
  gluExample(make, [1, 4, 5, 5760]),
  gluExample(make, [2, 3, 2, 11200]),
  gluExample(make, [1, 1, 1, 2]),
  gluExample(make, [3, 2, 1, 6]),
  gluExample(make, [1, 5, 67, 34]),
  gluExample(make, [1, 37, 3, 70], make.other),
  gluExample(make, [2, 1, 9, 2 * 257]),
  gluExample(make, [2, 19, 7, 2 * 72]), // higher than a block, the last strip not full
]);

interface ProjectCase {
  readonly x: Image;
  readonly group: number; // D
  readonly views?: boolean | 'aligned'; // x and out are columns of wider tensors, from multiples of eight
  readonly mixed?: boolean;
}

function projectExample(make: Maker, { x: shape, group, views, mixed }: ProjectCase): Example {
  const channels = shape[3];
  const [x0, rest] = views === 'aligned' ? [8, 16] : [3, 5];
  const view = (first: number) => (views ? { columns: { first, of: channels + first + rest } } : {});
  const x = make.activation(shape, view(x0));
  const depthwise = make.vector([channels, 5, 5], 0.4);
  const pointwise = make.vector([channels, group], 1 / Math.sqrt(group));
  const out = make.out(shape, { ...(mixed && { dtype: make.other }), ...view(channels) });
  return {
    op: 'multiScaleProject',
    operands: { x, depthwise: { ...depthwise, layout: 'depthwise' }, pointwise, out },
    expected: () => ({ out: multiScaleProject(x.data, depthwise.data, pointwise.data, shape, group) }),
    items: { count: shape[0], shared: ['pointwise'] },
  };
}

testOperator('multiScaleProject', (make) =>
  (
    [
      { x: [1, 5, 4, 3 * 512], group: 32, views: true },
      { x: [2, 2, 3, 3 * 1024], group: 32, views: true },
      { x: [1, 1, 1, 1], group: 1 },
      { x: [1, 2, 3, 512], group: 256 },
      { x: [3, 3, 1, 15], group: 5, views: true },
      { x: [1, 4, 67, 21], group: 7, mixed: true },
      { x: [1, 35, 2, 144], group: 72, views: true, mixed: true },
      { x: [1, 3, 5, 260], group: 130 },
      // rows that vectors can be read from: three groups, higher and wider than a block's square
      { x: [2, 19, 18, 96], group: 32 },
      { x: [1, 16, 5, 32], group: 32, mixed: true },
      { x: [1, 1, 33, 192], group: 32, views: 'aligned' },
    ] satisfies readonly ProjectCase[]
  ).map((c) => projectExample(make, c)),
);
