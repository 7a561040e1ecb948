/** Norms over the last dimension, each fused with what follows it in the models. */

import {
  activation,
  activationChoice,
  at,
  columnsOf,
  demand,
  demandShape,
  dimensionLimit,
  elementwise,
  input,
  number,
  type OperatorSpec,
  optional,
  output,
  vector,
} from '../operator.ts';

export const normOperators = {
  /**
   * out = layerNorm(x) * (1 + scale) + shift, over C, no affine weights
   *
   * x [B, N, C], shift and scale [B, C], out [B, N, C]
   */
  layerNormModulate: {
    operands: [input('x'), input('shift', vector), input('scale', vector), output()],
    attributes: [number('epsilon', { least: 0 })],
    inPlace: ['x'],
    limits: [dimensionLimit('x', -1, 'channels', 'channels')],
    infer(operands) {
      const { shape } = at(operands, 'x');
      demand(shape.length === 3, operands, 'x must be [B, N, C]');
      const vectors = [shape[0] ?? 0, shape[2] ?? 0];
      demandShape(operands, 'shift', vectors);
      demandShape(operands, 'scale', vectors);
      return shape;
    },
    flops: elementwise(8),
  },

  /**
   * out = activation(x * rsqrt(mean(x^2) + epsilon) * (weight + offset) + bias) + residual
   *
   * x [..., C], weight and bias [C], residual and out [..., C]
   */
  rmsNorm: {
    operands: [
      input('x', activation, 'pitched'),
      input('weight', vector),
      optional('bias', vector),
      optional('residual', activation, 'pitched'),
      output(activation, 'pitched'),
    ],
    attributes: [number('epsilon', { least: 0 }), number('offset'), activationChoice],
    inPlace: ['x', 'residual'],
    limits: [dimensionLimit('x', -1, 'channels', 'channels')],
    sameDtype: [['residual', 'out']],
    infer(operands) {
      const x = at(operands, 'x');
      demandShape(operands, 'weight', [columnsOf(x)]);
      demandShape(operands, 'bias', [columnsOf(x)]);
      demandShape(operands, 'residual', x.shape);
      return x.shape;
    },
    flops: elementwise(5),
  },
} as const satisfies Record<string, OperatorSpec>;
