/**
 * The consistency sampler of SANA-Sprint on TrigFlow: every step estimates the clean latents and noises them again.
 *
 *     x_t = cos(t) x0 + sin(t) z,   s = sin t / (cos t + sin t),   n = sqrt(s^2 + (1 - s)^2)
 *     y = x_t n                                     the transformer's input, at the time s
 *     x0 = cos(t) x_t - sin(t) ((1 - 2 s) y + (1 - 2 s + 2 s^2) F(y, s)) / n
 *
 * for latents of unit deviation: the reference multiplies by sigma_data at the start and divides by it at the end,
 * which cancels. The latents that are kept from step to step are y, so that one program is used for every step:
 *
 *     x0 = p y + q F,   y' = n' cos(t') x0 + n' sin(t') z
 *
 * Source: Chen et al., "SANA-Sprint: One-Step Diffusion with Continuous-Time Consistency Distillation" (2025), sections
 * 3.1 and 3.2.
 */

import { argumentError } from '../base/errors.ts';
import { type CustomSchedule, customSteps } from './custom.ts';
import { checkCustomSteps, checkStep, checkSteps, linspace, MAX_TIMESTEPS, type Schedule } from './schedule.ts';

export interface ScmOptions extends Pick<CustomSchedule, 'timesteps'> {
  /** Where the first step starts, in radians. Slightly more than pi / 2, as in the reference. Default: 1.5708. */
  readonly maxTimesteps?: number | undefined;
  /** Where the second of two steps starts; null: halfway. Default: 1.3 with two steps; not allowed otherwise. */
  readonly intermediateTimesteps?: number | null | undefined;
}

export const INTERMEDIATE_TIMESTEPS = 1.3;

/** The schedule of an `SCMScheduler`. */
export function scm(steps: number, options: ScmOptions = {}): Schedule {
  checkSteps(steps);
  checkCustomSteps(steps, customSteps('scm', options));
  const { maxTimesteps = MAX_TIMESTEPS, intermediateTimesteps } = options;
  // With the reference's default of 1.3, every call without exactly two steps fails. Here the default applies to two
  // steps only.
  const intermediate =
    intermediateTimesteps === undefined && steps === 2 && options.timesteps === undefined
      ? INTERMEDIATE_TIMESTEPS
      : intermediateTimesteps;
  if (typeof intermediate === 'number' && steps !== 2) {
    throw argumentError(
      'intermediateTimesteps',
      `left out or null with ${steps} step(s), because it needs two`,
      intermediate,
      'Leave `intermediateTimesteps` out, or use 2 steps.',
    );
  }
  const angles = (
    options.timesteps ??
    (typeof intermediate === 'number' ? [maxTimesteps, intermediate, 0] : linspace(maxTimesteps, 0, steps + 1))
  ).map(Math.fround);
  const levels = angles.map(levelOf);
  const level = (step: number) => levels[step] as Level; // callers check
  return {
    steps,
    timesteps: levels.slice(0, steps).map(({ share }) => Math.fround(share)),
    sigmas: levels.map(({ share }) => Math.fround(share)),
    startScale: level(0).norm,
    renoises: true,
    mix(step) {
      const { norm, cos, sin } = level(step);
      return { clean: norm * cos, noise: norm * sin };
    },
    coefficients(step) {
      checkStep(step, steps);
      const { share, norm, cos, sin } = level(step);
      const next = level(step + 1);
      return {
        p: (cos - sin * (1 - 2 * share)) / norm,
        q: (-sin * (1 - 2 * share + 2 * share * share)) / norm,
        a: 0,
        b: next.norm * next.cos,
        c: next.norm * next.sin,
      };
    },
  };
}

interface Level {
  readonly share: number; // s: the share of noise in the transformer's input
  readonly norm: number; // n
  readonly cos: number;
  readonly sin: number;
}

function levelOf(angle: number): Level {
  const [cos, sin] = [Math.cos(angle), angle === 0 ? 0 : Math.sin(angle)];
  const share = sin / (cos + sin);
  return { share, norm: Math.hypot(share, 1 - share), cos, sin };
}
