/**
 * The operator table: every operator, its operands and attributes, the shape of what it makes and what it costs. The
 * formulas stand in core/ops.h, which is the same table in C++ (a test holds the two equal).
 *
 * FLOPs count 2 per multiply-add of the result as defined, so that figures compare across implementations: the folded
 * up-convolution counts its four 2x2 taps (what is computed), never the 3x3 on the enlarged map.
 */

import { columnsOf, type DType, describe, elements, type Layout, shapeError, type Tensor } from './tensor.ts';

export const activations = ['none', 'silu', 'gelu-tanh', 'relu'] as const;
export type Activation = (typeof activations)[number];

export type AttributeValue = number | string | readonly number[];
export type Operands = Readonly<Record<string, Tensor | undefined>>;
export type Attributes = Readonly<Record<string, AttributeValue>>;

export interface OperandSpec {
  readonly name: string;
  readonly role: 'in' | 'in?' | 'out' | 'inout';
  readonly dtypes: readonly DType[];
  readonly layout: string;
}

export interface OperatorSpec {
  readonly operands: readonly OperandSpec[];
  readonly attributes: readonly { readonly name: string; readonly kind: string }[];
  readonly inPlace: readonly string[];
  /** Checks the operands against each other and returns the shape of `out` (none: the operator works in place). */
  readonly infer: (operands: Required<Operands>, attributes: Attributes) => readonly number[] | undefined;
  readonly flops: (operands: Required<Operands>, attributes: Attributes) => number;
}

const activation: readonly DType[] = ['f32', 'bf16', 'f16'];
const vector: readonly DType[] = ['f32'];
const matrix: readonly DType[] = [...activation, 'i8', 'f8'];

const input = (name: string, dtypes = activation, layout = 'dense'): OperandSpec => ({
  name,
  role: 'in',
  dtypes,
  layout,
});
const optional = (name: string, dtypes = activation, layout = 'dense'): OperandSpec => ({
  name,
  role: 'in?',
  dtypes,
  layout,
});
const output = (dtypes = activation, layout = 'dense'): OperandSpec => ({ name: 'out', role: 'out', dtypes, layout });
const attribute = (name: string, kind: string) => ({ name, kind });
const activationKind = activations.join('|');

/** The operand of that name; the recorder has checked that the required ones are there. */
function at(operands: Operands, name: string): Tensor {
  const tensor = operands[name];
  if (tensor === undefined) throw shapeError(`operand \`${name}\` is missing`);
  return tensor;
}

function dimension(tensor: Tensor, index: number): number {
  return tensor.shape[index < 0 ? tensor.shape.length + index : index] ?? 1;
}

function integer(attributes: Attributes, name: string): number {
  return Number(attributes[name]);
}

function list(attributes: Attributes, name: string): readonly number[] {
  const value = attributes[name];
  return Array.isArray(value) ? value : [];
}

function demand(condition: boolean, operands: Operands, what: string): void {
  if (condition) return;
  const given = Object.entries(operands)
    .filter(([, tensor]) => tensor !== undefined)
    .map(([name, tensor]) => `${name} ${describe(tensor as Tensor)}`);
  throw shapeError(`${what}; given ${given.join(', ')}`);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** Demands that optional `name`, when given, has exactly this shape. */
function optionalShape(operands: Operands, name: string, shape: readonly number[]): void {
  const tensor = operands[name];
  if (tensor !== undefined)
    demand(sameShape(tensor.shape, shape), operands, `\`${name}\` must be [${shape.join(', ')}]`);
}

function image(operands: Operands, name: string): readonly [number, number, number, number] {
  const { shape } = at(operands, name);
  demand(shape.length === 4, operands, `\`${name}\` must be [B, H, W, C]`);
  return [shape[0] ?? 0, shape[1] ?? 0, shape[2] ?? 0, shape[3] ?? 0];
}

const elementwise = (perElement: number) => (operands: Operands) => perElement * elements(at(operands, 'out').shape);

export const operators = {
  linear: {
    operands: [
      input('x', activation, 'pitched'),
      input('weight', matrix, 'linear|gatedLinear'),
      optional('bias', vector),
      optional('gate', vector),
      optional('residual', activation, 'pitched'),
      output(activation, 'pitched'),
    ],
    attributes: [attribute('activation', activationKind), attribute('clip', 'number')],
    inPlace: ['residual'],
    infer(operands) {
      const x = at(operands, 'x');
      const weight = at(operands, 'weight');
      const [n = 0, k = 0] = weight.shape;
      demand(columnsOf(x) === k, operands, `x must have the weight's ${k} columns`);
      const gated = weight.layout === 'gatedLinear';
      demand(
        weight.dtype === x.dtype || ((weight.dtype === 'i8' || weight.dtype === 'f8') && !gated),
        operands,
        'x and weight must have one dtype, or the weight be a linear one of i8 or f8',
      );
      demand(!gated || n % 2 === 0, operands, 'a gated weight must have an even number of rows');
      demand(
        !gated || (!operands.bias && !operands.gate && !operands.residual),
        operands,
        'a gated weight takes neither bias, gate nor residual',
      );
      const shape = [...x.shape.slice(0, -1), gated ? n / 2 : n];
      optionalShape(operands, 'bias', [n]);
      optionalShape(operands, 'residual', shape);
      const gate = operands.gate;
      if (gate) {
        const m = elements(x.shape.slice(0, -1));
        const fits = gate.shape.length === 2 && gate.shape[1] === n && m % (gate.shape[0] ?? 0) === 0;
        demand(fits, operands, `gate must be [B, ${n}] with B dividing the ${m} rows`);
      }
      return shape;
    },
    flops: (operands) => 2 * elements(at(operands, 'x').shape) * dimension(at(operands, 'weight'), 0),
  },

  conv2d: {
    operands: [
      input('x'),
      input('weight', activation, 'conv2d'),
      optional('bias', vector),
      optional('residual'),
      output(),
    ],
    attributes: [attribute('stride', 'integer'), attribute('activation', activationKind)],
    inPlace: ['residual'],
    infer(operands, attributes) {
      const [b, h, w, c] = image(operands, 'x');
      const weight = at(operands, 'weight');
      const [o = 0, , , i = 0] = weight.shape;
      demand(weight.shape.length === 4 && i === c, operands, `the weight must take x's ${c} channels`);
      demand(at(operands, 'x').dtype === weight.dtype, operands, 'x and weight must have one dtype');
      const stride = integer(attributes, 'stride');
      const shape = [b, Math.ceil(h / stride), Math.ceil(w / stride), o];
      optionalShape(operands, 'bias', [o]);
      optionalShape(operands, 'residual', shape);
      return shape;
    },
    flops: (operands) => 2 * elements(at(operands, 'out').shape) * elements(at(operands, 'weight').shape.slice(1)),
  },

  upsampleConv2d: {
    operands: [
      input('x'),
      input('weight', activation, 'upsampleConv2d'),
      optional('bias', vector),
      optional('residual'),
      output(),
    ],
    attributes: [],
    inPlace: ['residual'],
    infer(operands) {
      const [b, h, w, c] = image(operands, 'x');
      const weight = at(operands, 'weight');
      const [o = 0, kh = 0, kw = 0, i = 0] = weight.shape;
      demand(kh === 3 && kw === 3 && i === c, operands, `the weight must be [O, 3, 3, ${c}]`);
      demand(at(operands, 'x').dtype === weight.dtype, operands, 'x and weight must have one dtype');
      const shape = [b, 2 * h, 2 * w, o];
      optionalShape(operands, 'bias', [o]);
      optionalShape(operands, 'residual', shape);
      return shape;
    },
    flops: (operands) => 2 * elements(at(operands, 'out').shape) * 4 * dimension(at(operands, 'x'), -1),
  },

  depthwiseConvGlu: {
    operands: [input('x'), input('weight', vector, 'depthwise'), input('bias', vector), output()],
    attributes: [],
    inPlace: [],
    infer(operands) {
      const [b, h, w, c] = image(operands, 'x');
      demand(c % 2 === 0, operands, 'x must have an even number of channels, values and gates');
      demand(sameShape(at(operands, 'weight').shape, [c, 3, 3]), operands, `weight must be [${c}, 3, 3]`);
      optionalShape(operands, 'bias', [c]);
      return [b, h, w, c / 2];
    },
    flops: (operands) => 18 * elements(at(operands, 'x').shape),
  },

  multiScaleProject: {
    operands: [
      input('x', activation, 'pitched'),
      input('depthwise', vector, 'depthwise'),
      input('pointwise', vector),
      output(activation, 'pitched'),
    ],
    attributes: [],
    inPlace: [],
    infer(operands) {
      const [b, h, w, c] = image(operands, 'x');
      const pointwise = at(operands, 'pointwise');
      const d = dimension(pointwise, 1);
      demand(sameShape(at(operands, 'depthwise').shape, [c, 5, 5]), operands, `depthwise must be [${c}, 5, 5]`);
      demand(
        sameShape(pointwise.shape, [c, d]) && c % d === 0,
        operands,
        `pointwise must be [${c}, D], D dividing ${c}`,
      );
      return [b, h, w, c];
    },
    flops: (operands) => elements(at(operands, 'x').shape) * 2 * (25 + dimension(at(operands, 'pointwise'), 1)),
  },

  layerNormModulate: {
    operands: [input('x'), input('shift', vector), input('scale', vector), output()],
    attributes: [attribute('epsilon', 'number')],
    inPlace: ['x'],
    infer(operands) {
      const { shape } = at(operands, 'x');
      demand(shape.length === 3, operands, 'x must be [B, N, C]');
      const vectors = [shape[0] ?? 0, shape[2] ?? 0];
      optionalShape(operands, 'shift', vectors);
      optionalShape(operands, 'scale', vectors);
      return shape;
    },
    flops: elementwise(8),
  },

  rmsNorm: {
    operands: [
      input('x', activation, 'pitched'),
      input('weight', vector),
      optional('bias', vector),
      optional('residual', activation, 'pitched'),
      output(activation, 'pitched'),
    ],
    attributes: [
      attribute('epsilon', 'number'),
      attribute('offset', 'number'),
      attribute('activation', activationKind),
    ],
    inPlace: ['x', 'residual'],
    infer(operands) {
      const x = at(operands, 'x');
      optionalShape(operands, 'weight', [columnsOf(x)]);
      optionalShape(operands, 'bias', [columnsOf(x)]);
      optionalShape(operands, 'residual', x.shape);
      return x.shape;
    },
    flops: elementwise(5),
  },

  linearAttention: {
    operands: [input('qkv'), output()],
    attributes: [
      attribute('headDim', 'integer'),
      attribute('order', 'split|interleaved'),
      attribute('epsilon', 'number'),
    ],
    inPlace: [],
    infer(operands, attributes) {
      const { shape } = at(operands, 'qkv');
      const d = integer(attributes, 'headDim');
      const c = columnsOf(at(operands, 'qkv')) / 3;
      demand(shape.length === 3 && Number.isInteger(c / d), operands, `qkv must be [B, N, 3 H ${d}]`);
      return [shape[0] ?? 0, shape[1] ?? 0, c];
    },
    flops: (operands, attributes) => 4 * elements(at(operands, 'out').shape) * (integer(attributes, 'headDim') + 1),
  },

  crossAttention: {
    operands: [
      input('q', activation, 'pitched'),
      input('k', activation, 'pitched'),
      input('v', activation, 'pitched'),
      output(),
    ],
    attributes: [attribute('heads', 'integer'), attribute('scale', 'number'), attribute('lengths', 'list')],
    inPlace: [],
    infer(operands, attributes) {
      const { shape } = at(operands, 'q');
      const lengths = list(attributes, 'lengths');
      const tokens = lengths.reduce((sum, length) => sum + length, 0);
      demand(shape.length === 3 && shape[0] === lengths.length, operands, `q must be [${lengths.length}, N, C]`);
      for (const name of ['k', 'v']) optionalShape(operands, name, [tokens, shape[2] ?? 0]);
      demand((shape[2] ?? 0) % integer(attributes, 'heads') === 0, operands, 'the heads must divide the channels');
      return shape;
    },
    flops(operands, attributes) {
      const [, n = 0, c = 0] = at(operands, 'q').shape;
      return list(attributes, 'lengths').reduce((sum, length) => sum + 4 * n * length * c, 0);
    },
  },

  causalAttention: {
    operands: [input('qkv', activation, 'pitched'), optional('prefix', activation, 'pitched'), output()],
    attributes: [
      attribute('heads', 'integer'),
      attribute('kvHeads', 'integer'),
      attribute('scale', 'number'),
      attribute('softcap', 'number'),
      attribute('window', 'integer'),
      attribute('lengths', 'list'),
    ],
    inPlace: [],
    infer(operands, attributes) {
      const { shape } = at(operands, 'qkv');
      const tokens = list(attributes, 'lengths').reduce((sum, length) => sum + length, 0);
      const heads = integer(attributes, 'heads');
      const kvHeads = integer(attributes, 'kvHeads');
      const d = (shape[1] ?? 0) / (heads + 2 * kvHeads);
      demand(
        shape.length === 2 && shape[0] === tokens && Number.isInteger(d) && heads % kvHeads === 0,
        operands,
        `qkv must be [${tokens}, (${heads} + 2 * ${kvHeads}) D]`,
      );
      const prefix = operands.prefix;
      if (prefix) optionalShape(operands, 'prefix', [prefix.shape[0] ?? 0, 2 * kvHeads * d]);
      return [tokens, heads * d];
    },
    flops(operands, attributes) {
      const prefix = operands.prefix?.shape[0] ?? 0;
      const width = columnsOf(at(operands, 'out'));
      return list(attributes, 'lengths').reduce(
        (sum, length) => sum + 4 * width * (length * prefix + (length * (length + 1)) / 2),
        0,
      );
    },
  },

  rotaryEmbedding: {
    operands: [
      input('x', activation, 'pitched'),
      input('cos', vector),
      input('sin', vector),
      output(activation, 'pitched'),
    ],
    attributes: [attribute('heads', 'integer')],
    inPlace: ['x'],
    infer(operands, attributes) {
      const x = at(operands, 'x');
      const half = dimension(at(operands, 'cos'), 1);
      const angles = [x.shape[0] ?? 0, half];
      optionalShape(operands, 'cos', angles);
      optionalShape(operands, 'sin', angles);
      demand(
        x.shape.length === 2 && integer(attributes, 'heads') * 2 * half <= columnsOf(x),
        operands,
        `x must be [T, C] with at least ${integer(attributes, 'heads')} heads of ${2 * half}`,
      );
      return x.shape;
    },
    flops: (operands, attributes) => 6 * integer(attributes, 'heads') * elements(at(operands, 'cos').shape),
  },

  timestepEmbedding: {
    operands: [input('timestep', vector), output()],
    attributes: [],
    inPlace: [],
    infer: (operands) => at(operands, 'out').shape,
    flops: elementwise(2),
  },

  modulation: {
    operands: [input('table', vector), input('embedding'), output(vector)],
    attributes: [],
    inPlace: [],
    infer(operands) {
      const [r = 0, c = 0] = at(operands, 'table').shape;
      const embedding = at(operands, 'embedding');
      const rowsOfEmbedding = columnsOf(embedding) / c;
      demand(
        embedding.shape.length === 2 && Number.isInteger(rowsOfEmbedding) && r % rowsOfEmbedding === 0,
        operands,
        `embedding must be [B, rows * ${c}] with rows dividing the table's ${r}`,
      );
      return [r, embedding.shape[0] ?? 0, c];
    },
    flops: elementwise(1),
  },

  activation: {
    operands: [input('x'), output()],
    attributes: [attribute('activation', activationKind)],
    inPlace: ['x'],
    infer: (operands) => at(operands, 'x').shape,
    flops: elementwise(4),
  },

  convert: {
    operands: [input('x', activation, 'pitched'), output(activation, 'pitched')],
    attributes: [attribute('scale', 'number'), attribute('repeat', 'integer')],
    inPlace: ['x'],
    infer(operands, attributes) {
      const [first = 1, ...rest] = at(operands, 'x').shape;
      return [first * integer(attributes, 'repeat'), ...rest];
    },
    flops: elementwise(1),
  },

  transpose: {
    operands: [input('x'), output()],
    attributes: [],
    inPlace: [],
    infer(operands) {
      const { shape } = at(operands, 'x');
      demand(shape.length === 3, operands, 'x must be [B, R, C]');
      return [shape[0] ?? 0, shape[2] ?? 0, shape[1] ?? 0];
    },
    flops: () => 0,
  },

  pixelShuffle: {
    operands: [input('x'), optional('residual'), output()],
    attributes: [attribute('factor', 'integer')],
    inPlace: ['residual'],
    infer(operands, attributes) {
      const [b, h, w, c] = image(operands, 'x');
      const f = integer(attributes, 'factor');
      const o = columnsOf(at(operands, 'out'));
      demand((f * f * o) % c === 0, operands, `${f * f} times out's ${o} channels must be a multiple of x's ${c}`);
      optionalShape(operands, 'residual', [b, f * h, f * w, o]);
      return [b, f * h, f * w, o];
    },
    flops: elementwise(1),
  },

  pixelUnshuffle: {
    operands: [input('x'), optional('residual'), output()],
    attributes: [attribute('factor', 'integer')],
    inPlace: ['residual'],
    infer(operands, attributes) {
      const [b, h, w, c] = image(operands, 'x');
      const f = integer(attributes, 'factor');
      const o = columnsOf(at(operands, 'out'));
      demand(h % f === 0 && w % f === 0, operands, `x's sides must be multiples of ${f}`);
      demand((f * f * c) % o === 0, operands, `${f * f} times x's ${c} channels must be a multiple of out's ${o}`);
      optionalShape(operands, 'residual', [b, h / f, w / f, o]);
      return [b, h / f, w / f, o];
    },
    flops: (operands) => elements(at(operands, 'x').shape),
  },

  solverStep: {
    operands: [
      input('velocity'),
      input('coefficients', vector),
      { name: 'latents', role: 'inout', dtypes: vector, layout: 'dense' },
      { name: 'previous', role: 'inout', dtypes: vector, layout: 'dense' },
    ],
    attributes: [],
    inPlace: [],
    infer(operands) {
      const { shape } = at(operands, 'latents');
      const velocity = at(operands, 'velocity').shape;
      const times = (parts: number) => [parts * (shape[0] ?? 0), ...shape.slice(1)];
      demand(
        [1, 2, 3].some((parts) => sameShape(velocity, times(parts))),
        operands,
        "velocity must have latents' shape, or twice or three times its batch",
      );
      optionalShape(operands, 'previous', shape);
      optionalShape(operands, 'coefficients', [7]);
      return undefined;
    },
    flops: (operands) => 10 * elements(at(operands, 'latents').shape),
  },

  resizeCrop: {
    operands: [input('x'), output()],
    attributes: [attribute('resizedHeight', 'integer'), attribute('resizedWidth', 'integer')],
    inPlace: [],
    infer(operands, attributes) {
      const [b, , , c] = image(operands, 'x');
      const [, h, w] = image(operands, 'out');
      demand(
        h <= integer(attributes, 'resizedHeight') && w <= integer(attributes, 'resizedWidth'),
        operands,
        'out must not be larger than the resized image it is cut from',
      );
      return [b, h, w, c];
    },
    flops: elementwise(8),
  },

  toRgb8: {
    operands: [input('x'), output(['u8'])],
    attributes: [],
    inPlace: [],
    infer(operands) {
      demand(columnsOf(at(operands, 'x')) === 3, operands, 'x must have 3 channels');
      return at(operands, 'x').shape;
    },
    flops: elementwise(3),
  },

  countNonFinite: {
    operands: [input('x'), output(['i32'])],
    attributes: [],
    inPlace: [],
    infer: () => [1],
    flops: (operands) => elements(at(operands, 'x').shape),
  },
} as const satisfies Record<string, OperatorSpec>;

export type OperatorName = keyof typeof operators;

export function operatorSpec(name: OperatorName): OperatorSpec {
  return operators[name];
}

export type { Layout };
