/** What every sampler comes down to: one line of numbers per step, for one fused operator. */

/**
 * The update of one step, as coefficients:
 *
 *     x0 = p x + q v
 *     x' = a x + b x0 + c x0_previous
 *
 * x the latents, v the (guided) velocity that the model predicts, x0 the estimate of the clean latents, which the next
 * step may use again.
 */
export interface StepCoefficients {
  readonly p: number;
  readonly q: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** The noise levels of a sampling run, and its updates. */
export interface Schedule {
  readonly steps: number;
  readonly timesteps: readonly number[]; // [steps] what the model sees
  readonly sigmas: readonly number[]; // [steps + 1] share of noise before each step, and after the last
  coefficients(step: number): StepCoefficients;
}

/** The most steps there may be: from 501 on the reference's first time steps coincide, and it skips one. */
export const MAX_STEPS = 500;
