/** The common form of all samplers: one row of coefficients per step, for one fused operator. */

import { argumentError } from '../base/errors.ts';

/**
 * The update of one step, as coefficients:
 *
 *     x0 = p x + q v
 *     x' = a x + b x0 + c x0_previous
 *
 * x are the latents, v is the model's (guided) prediction, and x0 the estimate of the clean latents, which the next
 * step may use as x0_previous. If a schedule `renoises`, new noise takes the place of x0_previous.
 */
export interface StepCoefficients {
  readonly p: number;
  readonly q: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** The noise levels and updates of a sampling run. */
export interface Schedule {
  readonly steps: number;
  readonly timesteps: readonly number[]; // [steps] the model's input
  readonly sigmas: readonly number[]; // [steps + 1] share of noise before each step, and after the last
  /** The factor that turns noise of unit standard deviation into the first latents. */
  readonly startScale: number;
  /** Whether every step adds noise: `c` then multiplies noise of unit standard deviation. */
  readonly renoises: boolean;
  /** Factors of a known picture's latents before `step`, or after the last one: clean * x0 + noise * (unit noise). */
  mix(step: number): { readonly clean: number; readonly noise: number };
  /** @param first the first step that is run: it has no estimate from an earlier step */
  coefficients(step: number, first?: number): StepCoefficients;
}

/** The mixture of a rectified flow, `x = (1 - sigma) x0 + sigma noise`, which starts from pure noise. */
export function flowMix(sigmas: readonly number[]): Pick<Schedule, 'startScale' | 'renoises' | 'mix'> {
  const mix = (step: number) => {
    const sigma = sigmas[step] ?? 0;
    return { clean: 1 - sigma, noise: sigma };
  };
  return { startScale: 1, renoises: false, mix };
}

/** The largest angle of TrigFlow: slightly more than pi / 2, as in the reference. */
export const MAX_TIMESTEPS = 1.5708;

/** The maximum number of steps: from 501 on, the reference's first timesteps coincide and it skips one. */
export const MAX_STEPS = 500;

export function checkSteps(steps: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > MAX_STEPS) {
    throw argumentError('steps', `an integer from 1 to ${MAX_STEPS}`, steps);
  }
}

/** `list`: as many as the custom schedule has; undefined where there is none. */
export function checkCustomSteps(steps: number, list: number | undefined): void {
  if (list !== undefined && list !== steps) {
    throw argumentError('steps', `${list}, as many as the custom schedule has`, steps);
  }
}

export function checkStep(step: number, steps: number): void {
  if (!Number.isInteger(step) || step < 0 || step >= steps) {
    throw argumentError('step', `an integer from 0 to ${steps - 1}`, step);
  }
}

/** Moves noise levels towards 1 (shift > 1), because larger images need more steps there. */
export function shifted(sigma: number, shift: number): number {
  return (shift * sigma) / (1 + (shift - 1) * sigma);
}

/** `count` numbers from `start` to `end`, both included; for a count of 1, only `start`. */
export function linspace(start: number, end: number, count: number): number[] {
  const step = (end - start) / (count - 1);
  return Array.from({ length: count }, (_, i) =>
    i === count - 1 && count > 1 ? end : start + (i === 0 ? 0 : i * step),
  );
}
