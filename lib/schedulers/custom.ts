/**
 * Schedules that a caller gives in place of a sampler's own, as diffusers' schedulers take them: flow Euler its noise
 * levels, which it shifts like its own, as `sigmas` or as `timesteps` of the model's training; SCM the angles of its
 * steps and the 0 that the last one ends at. DPMSolverMultistepScheduler takes none with flow sigmas.
 */

import { argumentError, SanaError } from '../base/errors.ts';
import type { SchedulerName } from './names.ts';
import { MAX_STEPS, MAX_TIMESTEPS } from './schedule.ts';

export interface CustomSchedule {
  readonly timesteps?: readonly number[] | undefined;
  readonly sigmas?: readonly number[] | undefined;
}

/** What makes single angles of SCM, and so has no place beside a whole list. */
interface Angles {
  readonly maxTimesteps?: number | undefined;
  readonly intermediateTimesteps?: number | null | undefined;
}

/** The lists that a sampler takes. */
export const CUSTOM_SCHEDULES: Readonly<Record<SchedulerName, readonly (keyof CustomSchedule)[]>> = {
  'flow-dpm-solver': [],
  'flow-euler': ['timesteps', 'sigmas'],
  scm: ['timesteps'],
};

/** Checks a custom schedule for a sampler; how many steps it has, or undefined where there is none. */
export function customSteps(
  scheduler: SchedulerName,
  custom: CustomSchedule & Angles,
  trainingSteps = 1000,
): number | undefined {
  const names = (['timesteps', 'sigmas'] as const).filter((name) => custom[name] !== undefined);
  for (const name of names) checkTaken(name, scheduler);
  if (names.length > 1) refuse('sigmas', '`timesteps` are given', 'Leave one of the two out.');
  const [name] = names;
  const list = name === undefined ? undefined : custom[name];
  if (name === undefined || list === undefined) return undefined;
  for (const angle of ['maxTimesteps', 'intermediateTimesteps'] as const) {
    if (custom[angle] != null) refuse(angle, `\`${name}\` has all angles`, 'Leave one of the two out.');
  }
  const ends = scheduler === 'scm' ? 1 : 0; // SCM's list has the end of the last step, too
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
  const hint = scheduler === 'flow-dpm-solver' ? ["choose `scheduler: 'flow-euler'`, which takes it"] : others;
  refuse(name, `${scheduler} takes none`, `Leave \`${name}\` out, or ${hint.join(' or ')}.`);
}

function refuse(name: string, why: string, hint: string): never {
  throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: ${why}`, { hint });
}
