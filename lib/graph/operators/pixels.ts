/** Images: rearranging and resizing pixels, and converting them to bytes. */

import { most } from '../limits.ts';
import {
  at,
  columnsOf,
  demand,
  demandShape,
  elementsOf,
  elementwise,
  image,
  imageLimits,
  input,
  integer,
  numberOf,
  type OperatorSpec,
  optional,
  output,
} from '../operator.ts';

export const pixelOperators = {
  /**
   * Pixel shuffle of x with every channel repeated R times, + residual; R = f f O / I, f = factor:
   * out[o, f i + a, f j + b] = x[(f f o + f a + b) / R, i, j] + residual
   *
   * x [B, H, W, I], residual and out [B, f H, f W, O]
   */
  pixelShuffle: {
    operands: [input('x'), optional('residual'), output()],
    attributes: [integer('factor', 1, 2)],
    inPlace: ['residual'],
    limits: [...imageLimits('x'), ...imageLimits('out')],
    sameDtype: [['residual', 'out']],
    infer(operands, attributes) {
      const [b, h, w, c] = image(operands, 'x');
      const f = numberOf(attributes, 'factor');
      const o = columnsOf(at(operands, 'out'));
      demand((f * f * o) % c === 0, operands, `${f * f} times out's ${o} channels must be a multiple of x's ${c}`);
      demandShape(operands, 'residual', [b, f * h, f * w, o]);
      return [b, f * h, f * w, o];
    },
    flops: elementwise(1),
  },

  /**
   * The inverse rearrangement: pixel unshuffle (channel f f c + f a + b), then the mean over G = f f I / O consecutive
   * channels, + residual
   *
   * x [B, f H, f W, I], residual and out [B, H, W, O]
   */
  pixelUnshuffle: {
    operands: [input('x'), optional('residual'), output()],
    attributes: [integer('factor', 1, 2)],
    inPlace: ['residual'],
    limits: [...imageLimits('x'), ...imageLimits('out')],
    sameDtype: [['residual', 'out']],
    infer(operands, attributes) {
      const [b, h, w, c] = image(operands, 'x');
      const f = numberOf(attributes, 'factor');
      const o = columnsOf(at(operands, 'out'));
      demand(h % f === 0 && w % f === 0, operands, `x's sides must be multiples of ${f}`);
      demand((f * f * c) % o === 0, operands, `${f * f} times x's ${c} channels must be a multiple of out's ${o}`);
      demandShape(operands, 'residual', [b, h / f, w / f, o]);
      return [b, h / f, w / f, o];
    },
    flops: (operands) => elementsOf(operands, 'x'),
  },

  /**
   * Bilinear resize (half-pixel centres, no antialias) to resizedHeight x resizedWidth, then the centre crop
   *
   * x [B, h, w, C], out [B, H, W, C], H <= resizedHeight, W <= resizedWidth
   */
  resizeCrop: {
    operands: [input('x'), output()],
    attributes: [integer('resizedHeight', 1, most('side')), integer('resizedWidth', 1, most('side'))],
    inPlace: [],
    limits: [...imageLimits('x'), ...imageLimits('out')],
    infer(operands, attributes) {
      const [b, , , c] = image(operands, 'x');
      const [, h, w] = image(operands, 'out');
      demand(
        h <= numberOf(attributes, 'resizedHeight') && w <= numberOf(attributes, 'resizedWidth'),
        operands,
        'out must not be larger than the resized image that it is cropped from',
      );
      return [b, h, w, c];
    },
    flops: elementwise(8),
  },

  /** out = round_half_even(clamp(x / 2 + 1/2, 0, 1) * 255), NaN gives 0; x [B, H, W, 3], out the same, u8 */
  toRgb8: {
    operands: [input('x'), output(['u8'])],
    attributes: [],
    inPlace: [],
    limits: imageLimits('x'),
    infer(operands) {
      demand(columnsOf(at(operands, 'x')) === 3, operands, 'x must have 3 channels');
      return image(operands, 'x');
    },
    flops: elementwise(3),
  },
} as const satisfies Record<string, OperatorSpec>;
