/**
 * Custom schedules, as the schedulers of diffusers support them. Flow Euler takes noise levels, as `sigmas` or as
 * `timesteps` of the training schedule, and shifts them like its own. SCM takes the angle of each step and a final 0.
 * DPMSolverMultistepScheduler does not support custom schedules together with flow sigmas.
 */

import { argumentError, SanaError } from '../base/errors.ts';
import type { SchedulerName } from './names.ts';
import { MAX_STEPS, MAX_TIMESTEPS } from './schedule.ts';

export interface CustomSchedule {
  readonly timesteps?: readonly number[] | undefined;
  readonly sigmas?: readonly number[] | undefined;
}

/** Single angles of SCM, which cannot be combined with a whole list. */
interface Angles {
  readonly maxTimesteps?: number | undefined;
  readonly intermediateTimesteps?: number | null | undefined;
}

/** The lists that each sampler supports. */
export const CUSTOM_SCHEDULES: Readonly<Record<SchedulerName, readonly (keyof CustomSchedule)[]>> = {
  'flow-dpm-solver': [],
  'flow-euler': ['timesteps', 'sigmas'],
  scm: ['timesteps'],
};

/** Checks a custom schedule for a sampler. Returns its number of steps, or undefined without a custom schedule. */
export function customSteps(
  scheduler: SchedulerName,
  custom: CustomSchedule & Angles,
  trainingSteps = 1000,
): number | undefined {
  const names = (['timesteps', 'sigmas'] as const).filter((name) => custom[name] !== undefined);
  for (const name of names) checkTaken(name, scheduler);
  if (names.length > 1) refuse('sigmas', '`timesteps` were passed too', 'Leave one of the two out.');
  const [name] = names;
  const list = name === undefined ? undefined : custom[name];
  if (name === undefined || list === undefined) return undefined;
  for (const angle of ['maxTimesteps', 'intermediateTimesteps'] as const) {
    if (custom[angle] != null) refuse(angle, `\`${name}\` already sets every angle`, 'Leave one of the two out.');
  }
  const ends = scheduler === 'scm' ? 1 : 0; // SCM's list includes the end of the last step
  if (!Array.isArray(list) || list.length < 1 + ends || list.length > MAX_STEPS + ends) {
    throw argumentError(name, `a list of ${1 + ends} to ${MAX_STEPS + ends} numbers`, list);
  }
  const highest = scheduler === 'scm' ? MAX_TIMESTEPS : name === 'timesteps' ? trainingSteps : 1;
  const steps = list.length - ends;
  for (let i = 0; i < steps; i++) {
    const value = list[i];
    if (typeof value !== 'number' || !(value > 0 && value <= highest)) {
      throw argumentError(`${name}[${i}]`, `a number above 0 and up to ${highest}`, value);
    }
    const before = list[i - 1];
    if (before !== undefined && !(value < before)) {
      throw argumentError(
        `${name}[${i}]`,
        `below ${before}, the one before it`,
        value,
        'Noise decreases step by step.',
      );
    }
  }
  if (ends === 1 && list[steps] !== 0) {
    throw argumentError(`${name}[${steps}]`, '0, where the last step ends', list[steps]);
  }
  return steps;
}

function checkTaken(name: keyof CustomSchedule, scheduler: SchedulerName): void {
  const taken = CUSTOM_SCHEDULES[scheduler];
  if (taken.includes(name)) return;
  const others = taken.map((other) => `pass \`${other}\``);
  const hint = scheduler === 'flow-dpm-solver' ? ["use `scheduler: 'flow-euler'`, which supports it"] : others;
  const supported = taken.length === 0 ? 'no custom schedule' : taken.map((other) => `only \`${other}\``).join(' or ');
  refuse(name, `${scheduler} supports ${supported}`, `Leave \`${name}\` out, or ${hint.join(' or ')}.`);
}

function refuse(name: string, why: string, hint: string): never {
  throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: ${why}`, { hint });
}
