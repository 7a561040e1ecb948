/** Operators that compute each element of the result from one element, or only move elements. */

import {
  activation,
  activationChoice,
  at,
  demand,
  elementwise,
  input,
  integer,
  number,
  numberOf,
  type OperatorSpec,
  output,
} from '../operator.ts';

export const elementwiseOperators = {
  /** out = activation(x), any equal shapes */
  activation: {
    operands: [input('x'), output()],
    attributes: [activationChoice],
    inPlace: ['x'],
    limits: [],
    infer: (operands) => at(operands, 'x').shape,
    flops: elementwise(4),
  },

  /** out = limit * tanh(x / limit), any equal shapes: close to x for small x, and never outside [-limit, limit] */
  tanhClamp: {
    operands: [input('x'), output()],
    attributes: [number('limit', { least: 2 ** -126, most: 2 ** 127 })], // normal numbers of f32
    inPlace: ['x'],
    limits: [],
    infer: (operands) => at(operands, 'x').shape,
    flops: elementwise(4),
  },

  /** out = x * scale, with all of x repeated `repeat` times: x [A, ..., C], out [repeat * A, ..., C] */
  convert: {
    operands: [input('x', activation, 'pitched'), output(activation, 'pitched')],
    attributes: [number('scale'), integer('repeat', 1, 65536)],
    inPlace: ['x'],
    limits: [],
    infer(operands, attributes) {
      const repeat = numberOf(attributes, 'repeat');
      const [first = 1, ...rest] = at(operands, 'x').shape;
      demand(rest.length > 0 || repeat === 1, operands, 'x must have rows to repeat');
      return [first * repeat, ...rest];
    },
    flops: elementwise(1),
  },

  /** out[b, r, c] = x[b, c, r]: channels last to channels first and back; x [B, R, C], out [B, C, R] */
  transpose: {
    operands: [input('x'), output()],
    attributes: [],
    inPlace: [],
    limits: [],
    infer(operands) {
      const { shape } = at(operands, 'x');
      demand(shape.length === 3, operands, 'x must be [B, R, C]');
      return [shape[0] ?? 0, shape[2] ?? 0, shape[1] ?? 0];
    },
    flops: () => 0,
  },
} as const satisfies Record<string, OperatorSpec>;
