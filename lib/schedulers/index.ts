/**
 * Samplers as plain arithmetic: the noise levels of the steps, and the coefficients of each update.
 *
 * @module sana-native/schedulers
 *
 * @example
 * const schedule = schedulerFor(checkpoint.scheduler)(20);
 * for (let step = 0; step < schedule.steps; step++) {
 *   const { p, q, a, b, c } = schedule.coefficients(step); // x0 = p x + q v;  x' = a x + b x0 + c x0_previous
 * }
 */

import { argumentError } from '../base/errors.ts';
import type { SchedulerConfig } from './config.ts';
import { type CustomSchedule, customSteps } from './custom.ts';
import { flowDpmSolver } from './flow-dpm-solver.ts';
import { flowEuler } from './flow-euler.ts';
import { SCHEDULERS, type SchedulerName } from './names.ts';
import type { Schedule } from './schedule.ts';
import { type ScmOptions, scm } from './scm.ts';

export type { FlowDpmSolverConfig, FlowEulerConfig, SchedulerConfig } from './config.ts';
export { CUSTOM_SCHEDULES, type CustomSchedule, customSteps } from './custom.ts';
export { flowDpmSolver } from './flow-dpm-solver.ts';
export { flowEuler } from './flow-euler.ts';
export { SCHEDULERS, type SchedulerName } from './names.ts';
export { MAX_STEPS, MAX_TIMESTEPS, type Schedule, type StepCoefficients } from './schedule.ts';
export { type ScmOptions, scm } from './scm.ts';

/** The samplers that work with a model, by the class of its own sampler, which comes first. */
export const SCHEDULERS_OF = {
  DPMSolverMultistepScheduler: ['flow-dpm-solver', 'flow-euler'],
  FlowMatchEulerDiscreteScheduler: ['flow-euler', 'flow-dpm-solver'],
  SCMScheduler: ['scm'],
} as const satisfies Record<SchedulerConfig['className'], readonly SchedulerName[]>;

/**
 * The sampler of a checkpoint, as a function of the number of steps, or the sampler named by `override` with the
 * checkpoint's shift, which depends on the resolution and not on the sampler. Distilled models need the sampler 'scm',
 * which no other model can use. `options` may have a custom schedule.
 */
export function schedulerFor(
  config: SchedulerConfig,
  override?: SchedulerName,
  options: ScmOptions & CustomSchedule = {},
): (steps: number) => Schedule {
  if (override !== undefined && !SCHEDULERS.includes(override)) {
    throw argumentError('scheduler', SCHEDULERS.join(' or '), override);
  }
  const chosen = override === undefined ? config : overridden(config, override);
  switch (chosen.className) {
    case 'DPMSolverMultistepScheduler':
      customSteps('flow-dpm-solver', options);
      return (steps) => flowDpmSolver(chosen, steps);
    case 'FlowMatchEulerDiscreteScheduler':
      return (steps) => flowEuler(chosen, steps, options);
    case 'SCMScheduler':
      customSteps('scm', options);
      return (steps) => scm(steps, options);
  }
}

function overridden(config: SchedulerConfig, name: SchedulerName): SchedulerConfig {
  const { numTrainTimesteps } = config;
  if ((name === 'scm') !== (config.className === 'SCMScheduler')) {
    throw argumentError('scheduler', config.className === 'SCMScheduler' ? "'scm'" : 'a sampler other than scm', name);
  }
  switch (config.className) {
    case 'SCMScheduler':
      return config;
    case 'DPMSolverMultistepScheduler':
      if (name === 'flow-dpm-solver') return config;
      return { className: 'FlowMatchEulerDiscreteScheduler', numTrainTimesteps, shift: config.flowShift };
    case 'FlowMatchEulerDiscreteScheduler':
      if (name === 'flow-euler') return config;
      return {
        className: 'DPMSolverMultistepScheduler',
        numTrainTimesteps,
        flowShift: config.shift,
        solverOrder: 2,
        solverType: 'midpoint',
        lowerOrderFinal: true,
        eulerAtFinal: false,
        finalSigmasType: 'zero',
      };
  }
}
