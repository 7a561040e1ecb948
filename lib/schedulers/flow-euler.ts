/**
 * Euler's method on a rectified flow: x' = x + (sigma' - sigma) v.
 *
 * The reference applies the shift twice: to the range of sigmas in the constructor, and to the steps within that range.
 * So the last sigma before 0 is larger than the smallest one in training.
 *
 * Source: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (2024), section 5.3.2
 * for the shift.
 */

import type { FlowEulerConfig } from './config.ts';
import { type CustomSchedule, customSteps } from './custom.ts';
import { checkCustomSteps, checkStep, checkSteps, flowMix, linspace, type Schedule, shifted } from './schedule.ts';

/** The schedule of a `FlowMatchEulerDiscreteScheduler`. */
export function flowEuler(config: FlowEulerConfig, steps: number, custom: CustomSchedule = {}): Schedule {
  checkSteps(steps);
  const training = config.numTrainTimesteps;
  const smallest = shifted(1 / training, config.shift);
  checkCustomSteps(steps, customSteps('flow-euler', custom, training));
  const levels = custom.sigmas ?? custom.timesteps?.map((time) => time / training) ?? linspace(1, smallest, steps);
  const sigmas = levels.map((sigma) => shifted(sigma, config.shift));
  const timesteps = sigmas.map((sigma) => Math.fround(sigma * training));
  sigmas.push(0);
  return {
    steps,
    timesteps,
    sigmas: sigmas.map(Math.fround),
    ...flowMix(sigmas),
    coefficients(step) {
      checkStep(step, steps);
      const [sigma, next] = [sigmas[step] as number, sigmas[step + 1] as number]; // checked
      // x + (sigma' - sigma) v, with v = (x - x0) / sigma: 1 + (sigma' - sigma) / sigma = sigma' / sigma.
      return { p: 1, q: -sigma, a: next / sigma, b: 1 - next / sigma, c: 0 };
    },
  };
}
