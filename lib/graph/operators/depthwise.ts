/** Depthwise convolutions, each fused with what follows it in the models. */

import {
  activation,
  at,
  demand,
  demandShape,
  dimension,
  dimensionLimit,
  elementsOf,
  image,
  imageLimits,
  input,
  type OperatorSpec,
  output,
  sameShape,
  vector,
} from '../operator.ts';

export const depthwiseOperators = {
  /**
   * d = depthwise3x3(x, weight) + bias, out = d[..., :F] * silu(d[..., F:])
   *
   * x [B, H, W, 2F], weight [2F, 3, 3], bias [2F], out [B, H, W, F]
   */
  depthwiseConvGlu: {
    operands: [input('x'), input('weight', vector, 'depthwise'), input('bias', vector), output()],
    attributes: [],
    inPlace: [],
    limits: imageLimits('x'),
    infer(operands) {
      const [b, h, w, c] = image(operands, 'x');
      demand(c % 2 === 0, operands, 'x must have an even number of channels, values and gates');
      demand(sameShape(at(operands, 'weight').shape, [c, 3, 3]), operands, `weight must be [${c}, 3, 3]`);
      demandShape(operands, 'bias', [c]);
      return [b, h, w, c / 2];
    },
    flops: (operands) => 18 * elementsOf(operands, 'x'),
  },

  /**
   * DC-AE's second scale: out = grouped1x1(depthwise5x5(x)), groups of D consecutive channels
   *
   * x [B, H, W, C], depthwise [C, 5, 5], pointwise [C, D], out [B, H, W, C]
   */
  multiScaleProject: {
    operands: [
      input('x', activation, 'pitched'),
      input('depthwise', vector, 'depthwise'),
      input('pointwise', vector),
      output(activation, 'pitched'),
    ],
    attributes: [],
    inPlace: [],
    limits: [...imageLimits('x'), dimensionLimit('pointwise', 1, 'headDim', 'columns')],
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
    flops: (operands) => elementsOf(operands, 'x') * 2 * (25 + dimension(at(operands, 'pointwise'), 1)),
  },
} as const satisfies Record<string, OperatorSpec>;
