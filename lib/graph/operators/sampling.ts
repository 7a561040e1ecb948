/** The solver's step, and the check for values that are not finite. */

import {
  at,
  demand,
  demandShape,
  elementsOf,
  input,
  type OperatorSpec,
  output,
  sameShape,
  updated,
  vector,
} from '../operator.ts';

export const samplingOperators = {
  /**
   * Guidance, the x0 estimate and one step of a multistep solver. coefficients = [g, p, q, a, b, c, w]:
   *   v = velocity; if it has twice latents' batch, its halves are uncond and cond: v = uncond + g (cond - uncond);
   *   if three times, its thirds are perturbed, uncond and cond: v = uncond + g (cond - uncond) + w (cond - perturbed)
   *   x0 = p latents + q v;  latents = a latents + b x0 + c previous;  previous = x0
   *
   * velocity [B, 2B or 3B, N, C], coefficients [7], latents and previous [B, N, C], both read and written
   */
  solverStep: {
    operands: [
      input('velocity'),
      input('coefficients', vector),
      updated('latents', vector),
      updated('previous', vector),
    ],
    attributes: [],
    inPlace: [],
    limits: [],
    infer(operands) {
      const { shape } = at(operands, 'latents');
      const velocity = at(operands, 'velocity').shape;
      const times = (parts: number) => [parts * (shape[0] ?? 0), ...shape.slice(1)];
      demand(
        [1, 2, 3].some((parts) => sameShape(velocity, times(parts))),
        operands,
        "velocity must have latents' shape, with the same, twice or three times the batch",
      );
      demandShape(operands, 'previous', shape);
      demandShape(operands, 'coefficients', [7]);
      return undefined;
    },
    flops: (operands) => 10 * elementsOf(operands, 'latents'),
  },

  /** out[0] = the number of NaN and infinite elements of x, at most 2^31 - 1 */
  countNonFinite: {
    operands: [input('x'), output(['i32'])],
    attributes: [],
    inPlace: [],
    limits: [],
    infer: () => [1],
    flops: (operands) => elementsOf(operands, 'x'),
  },
} as const satisfies Record<string, OperatorSpec>;
