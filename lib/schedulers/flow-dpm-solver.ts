/**
 * Flow-DPM-Solver: DPM-Solver++ of order 1 and 2 on a rectified flow.
 *
 *     x_sigma = (1 - sigma) x0 + sigma noise,   v = noise - x0,   x0 = x - sigma v
 *     alpha = 1 - sigma,   lambda = ln(alpha / sigma),   h = lambda' - lambda
 *     order 1:  x' = (sigma'/sigma) x - alpha' (e^-h - 1) x0
 *     order 2:  ... - weight (x0 - x0_previous) / r,   r = (lambda - lambda_previous) / h
 *               weight: alpha' (e^-h - 1) / 2                    midpoint
 *                       -alpha' ((e^-h - 1) / h + 1)             heun
 *
 * Sources: Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022),
 * algorithm 2; Xie et al., "SANA" (2024), section 2.4, for the flow's sigmas and their shift.
 */

import type { FlowDpmSolverConfig } from './config.ts';
import { checkStep, checkSteps, flowMix, linspace, type Schedule, type StepCoefficients, shifted } from './schedule.ts';

/** The schedule of a `DPMSolverMultistepScheduler` with flow sigmas. */
export function flowDpmSolver(config: FlowDpmSolverConfig, steps: number): Schedule {
  checkSteps(steps);
  const training = config.numTrainTimesteps;
  const sigmas = linspace(1, 1 / training, steps + 1)
    .map((alpha) => shifted(1 - alpha, config.flowShift))
    .reverse()
    .slice(0, steps);
  // The model was trained on integers: it gets the truncated timestep, and the solver the exact sigma.
  const timesteps = sigmas.map((sigma) => Math.trunc(sigma * training));
  sigmas.push(config.finalSigmasType === 'zero' ? 0 : (sigmas[steps - 1] as number)); // steps >= 1
  return {
    steps,
    timesteps,
    sigmas: sigmas.map(Math.fround),
    ...flowMix(sigmas),
    coefficients: (step, first = 0) => coefficients(config, sigmas, step, first),
  };
}

function coefficients(
  config: FlowDpmSolverConfig,
  sigmas: readonly number[],
  step: number,
  first: number,
): StepCoefficients {
  const steps = sigmas.length - 1;
  checkStep(step, steps);
  const [previous, sigma, next] = [sigmas[step - 1] ?? 1, sigmas[step] as number, sigmas[step + 1] as number]; // checked
  const p = 1;
  const q = -sigma;
  // At the end, lambda is infinite: in the limit, the formulas give x' = x0.
  if (next === 0) return { p, q, a: 0, b: 1, c: 0 };

  const h = lambda(next) - lambda(sigma);
  const change = (1 - next) * Math.expm1(-h);
  const a = next / sigma;
  if (step === first || isFirstOrder(config, step, steps) || h === 0) return { p, q, a, b: -change, c: 0 };

  const r = (lambda(sigma) - lambda(previous)) / h;
  const weight = (config.solverType === 'midpoint' ? change / 2 : -(change / h + (1 - next))) / r;
  return { p, q, a, b: -change - weight, c: weight };
}

function isFirstOrder(config: FlowDpmSolverConfig, step: number, steps: number): boolean {
  if (config.solverOrder === 1) return true;
  if (step < steps - 1) return false;
  return config.eulerAtFinal || config.finalSigmasType === 'zero' || (config.lowerOrderFinal && steps < 15);
}

function lambda(sigma: number): number {
  return Math.log(1 - sigma) - Math.log(sigma);
}
