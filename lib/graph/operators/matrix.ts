/** Matrix products: linear layers, and convolutions that are computed as matrix products. */

import { isQuantized } from '../../base/dtypes.ts';
import {
  activation,
  activationChoice,
  at,
  columnsOf,
  demand,
  demandShape,
  dimension,
  dimensionLimit,
  elements,
  elementsOf,
  image,
  imageLimits,
  input,
  integer,
  limit,
  matrix,
  number,
  numberOf,
  type OperatorSpec,
  optional,
  output,
  vector,
} from '../operator.ts';

export const matrixOperators = {
  /**
   * out = clip(activation(x weight^T + bias)) * gate + residual
   *
   * x [..., K], weight [N, K], bias [N], gate [B, N] (row m of M uses gate m / (M / B)), residual and out [..., N].
   * clip > 0 limits to [-clip, clip]. With a gatedLinear weight there is no bias, gate or residual, and
   * out [..., N/2] = activation(gate half) * other half.
   *
   * An i8 weight (linear only, K up to 131072) and every row of x, when it is read, are quantized symmetrically:
   * v = s q with s = max |v| / 127 and q = v (1 / s) rounded to the nearest integer, ties to even, each step in f32. A
   * row whose s is not a normal number, such as a row of zeros, counts as zeros; a row of x with a NaN or an infinity
   * gives NaN. The product is (s_x s_w) times the sum of q_x q_w, which is an exact integer.
   *
   * An f8 weight (also linear only; GPUs of compute capability 8.9 and later) is the same except that s = max |v| / 448
   * and q = v (1 / s) is rounded to the nearest e4m3 number, ties to even, including subnormals; beyond 448 it
   * saturates. Every q_x q_w is exact. Their sum is in f32, in the order and with the rounding of the device's matrix
   * unit, which may keep fewer bits of partial sums than f32 has (docs/numerics.md).
   */
  linear: {
    operands: [
      input('x', activation, 'pitched'),
      input('weight', matrix, 'linear|gatedLinear'),
      optional('bias', vector),
      optional('gate', vector),
      optional('residual', activation, 'pitched'),
      output(activation, 'pitched'),
    ],
    attributes: [activationChoice, number('clip', { least: 0 })],
    inPlace: ['residual'],
    limits: [
      dimensionLimit('weight', 0, 'linearSize', 'rows'),
      dimensionLimit('weight', 1, 'linearSize', 'columns'),
      limit('weight', 'quantizedInputs', 'columns of i8 or f8', (weight) =>
        isQuantized(weight.dtype) ? dimension(weight, 1) : 0,
      ),
    ],
    sameDtype: [['residual', 'out']],
    infer(operands) {
      const x = at(operands, 'x');
      const weight = at(operands, 'weight');
      const [n = 0, k = 0] = weight.shape;
      demand(columnsOf(x) === k, operands, `x must have the weight's ${k} columns`);
      const gated = weight.layout === 'gatedLinear';
      demand(
        weight.dtype === x.dtype || (isQuantized(weight.dtype) && !gated),
        operands,
        'x and weight must have the same dtype, unless the weight is i8 or f8 with the layout linear',
      );
      demand(!gated || n % 2 === 0, operands, 'a gated weight must have an even number of rows');
      demand(
        !gated || (!operands.bias && !operands.gate && !operands.residual),
        operands,
        'a gated weight cannot be combined with bias, gate or residual',
      );
      const shape = [...x.shape.slice(0, -1), gated ? n / 2 : n];
      demandShape(operands, 'bias', [n]);
      demandShape(operands, 'residual', shape);
      const gate = operands.gate;
      if (gate) {
        const m = elements(x.shape.slice(0, -1));
        const fits = gate.shape.length === 2 && gate.shape[1] === n && m % (gate.shape[0] ?? 0) === 0;
        demand(fits, operands, `gate must be [B, ${n}] with B dividing the ${m} rows`);
      }
      return shape;
    },
    flops: (operands) => 2 * elementsOf(operands, 'x') * dimension(at(operands, 'weight'), 0),
  },

  /**
   * out = activation(conv(x, weight) + bias) + residual, zero padding kh/2, kw/2 (odd kernels)
   *
   * x [B, H, W, I], weight [O, kh, kw, I], bias [O], residual and out [B, H', W', O], H' = ceil(H / stride)
   */
  conv2d: {
    operands: [
      input('x'),
      input('weight', activation, 'conv2d'),
      optional('bias', vector),
      optional('residual'),
      output(),
    ],
    attributes: [integer('stride', 1, 2), activationChoice],
    inPlace: ['residual'],
    limits: [
      ...imageLimits('x'),
      dimensionLimit('weight', 0, 'channels', 'output channels'),
      dimensionLimit('weight', 1, 'kernelSize', 'rows of a kernel'),
      dimensionLimit('weight', 2, 'kernelSize', 'columns of a kernel'),
    ],
    sameDtype: [
      ['weight', 'x'],
      ['residual', 'out'],
    ],
    infer(operands, attributes) {
      const [b, h, w, c] = image(operands, 'x');
      const weight = at(operands, 'weight');
      const [o = 0, kh = 0, kw = 0, i = 0] = weight.shape;
      demand(weight.shape.length === 4 && i === c, operands, `the weight must have x's ${c} input channels`);
      demand(kh % 2 === 1 && kw % 2 === 1, operands, 'weight must have an odd kernel size');
      const stride = numberOf(attributes, 'stride');
      const shape = [b, Math.ceil(h / stride), Math.ceil(w / stride), o];
      demandShape(operands, 'bias', [o]);
      demandShape(operands, 'residual', shape);
      return shape;
    },
    flops: (operands) => 2 * elementsOf(operands, 'out') * elements(at(operands, 'weight').shape.slice(1)),
  },

  /**
   * out = conv3x3(nearest2x(x), weight) + bias + residual, computed as four 2x2 convolutions of x
   *
   * x [B, H, W, I], weight [O, 3, 3, I], bias [O], residual and out [B, 2H, 2W, O]
   */
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
    limits: [...imageLimits('x'), ...imageLimits('out')],
    sameDtype: [
      ['weight', 'x'],
      ['residual', 'out'],
    ],
    infer(operands) {
      const [b, h, w, c] = image(operands, 'x');
      const weight = at(operands, 'weight');
      const [o = 0, kh = 0, kw = 0, i = 0] = weight.shape;
      demand(kh === 3 && kw === 3 && i === c, operands, `the weight must be [O, 3, 3, ${c}]`);
      const shape = [b, 2 * h, 2 * w, o];
      demandShape(operands, 'bias', [o]);
      demandShape(operands, 'residual', shape);
      return shape;
    },
    flops: (operands) => 2 * elementsOf(operands, 'out') * 4 * dimension(at(operands, 'x'), -1),
  },
} as const satisfies Record<string, OperatorSpec>;
