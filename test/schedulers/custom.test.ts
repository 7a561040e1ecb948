import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { SchedulerConfig } from '../../lib/schedulers/config.ts';
import { flowEuler, type SchedulerName, schedulerFor, scm } from '../../lib/schedulers/index.ts';
import { sanaError } from '../support/errors.ts';
import { fixture } from '../support/files.ts';
import { assertClose, tolerances } from '../support/golden.ts';

interface Run {
  readonly custom: { readonly timesteps?: number[]; readonly sigmas?: number[] };
  readonly timesteps: number[];
  readonly samples: number[][];
  readonly outputs: number[][];
}
/** What diffusers' schedulers make of custom schedules: scripts/fixtures/custom_schedules.py. */
const golden: {
  readonly euler: readonly (Run & { readonly shift: number; readonly sigmas: number[] })[];
  readonly scm: readonly (Run & { readonly denoised: number[][]; readonly noises: number[][] })[];
  readonly dpm: { readonly timesteps: string | null; readonly sigmas: string | null };
} = JSON.parse(readFileSync(fixture('golden', 'custom_schedules.json'), 'utf8'));

const sigmaData = 0.5; // of the reference's SCM: its latents are ours times this
const euler = (shift: number) =>
  ({ className: 'FlowMatchEulerDiscreteScheduler', numTrainTimesteps: 1000, shift }) as const;
const f32 = (values: readonly number[] = []) => Float32Array.from(values);

describe('custom schedules', () => {
  for (const { shift, custom, timesteps, sigmas, samples, outputs } of golden.euler) {
    it(`flow Euler takes ${JSON.stringify(custom)} with shift ${shift} as the reference does`, () => {
      const schedule = flowEuler(euler(shift), timesteps.length, custom);
      const share = (times: readonly number[]) => f32(times.map((time) => time / 1000));
      assertClose(share(schedule.timesteps), share(timesteps), tolerances.scheduler, 'timesteps');
      assertClose(f32(schedule.sigmas), f32(sigmas), tolerances.scheduler, 'sigmas');
      let x = f32(samples[0]);
      for (const [step, output] of outputs.entries()) {
        const { p, q, a, b } = schedule.coefficients(step);
        x = x.map((value, k) => a * value + b * (p * value + q * (output[k] ?? Number.NaN)));
        assertClose(x, f32(samples[step + 1]), tolerances.scheduler, `step ${step}`);
      }
    });
  }

  for (const { custom, timesteps, samples, outputs, denoised, noises } of golden.scm) {
    it(`SCM takes ${JSON.stringify(custom)} as the reference does`, () => {
      const steps = timesteps.length - 1;
      const schedule = scm(steps, custom);
      let y = f32(samples[0]).map((x) => (x / sigmaData) * schedule.startScale);
      for (const [i, output] of outputs.entries()) {
        const s = schedule.timesteps[i] ?? Number.NaN;
        // The reference's scheduler is given what its pipeline makes of the transformer's output: undo that.
        const norm = Math.hypot(s, 1 - s);
        const { p, q, b, c } = schedule.coefficients(i);
        const clean = y.map((value, k) => {
          const velocity = (output[k] ?? Number.NaN) / sigmaData;
          return p * value + (q * (velocity * norm - (1 - 2 * s) * value)) / (1 - 2 * s + 2 * s * s);
        });
        const expected = f32(denoised[i]).map((x) => x / sigmaData);
        assertClose(clean, expected, tolerances.scheduler, `clean ${i}`);
        y = clean.map((x0, k) => b * x0 + c * (noises[i]?.[k] ?? Number.NaN));
      }
    });
  }

  it('the schedule of a sampler, given as a list, is that schedule', () => {
    const u = (i: number) => 1 - (i * (1 - 3 / (1000 + 2))) / 3; // linspace(1, shifted(1 / 1000, 3), 4)
    const sigmas = [0, 1, 2, 3].map(u);
    const [own, given] = [flowEuler(euler(3), 4), flowEuler(euler(3), 4, { sigmas })];
    assertClose(f32(given.sigmas), f32(own.sigmas), tolerances.scheduler);
    const angles = [1.5708, 1.3, 0];
    assert.deepEqual(scm(2, { timesteps: angles }).sigmas, scm(2).sigmas);
  });

  const flow: SchedulerConfig = euler(3);
  const rejected: readonly [string, SchedulerName, object, string][] = [
    ['both lists', 'flow-euler', { timesteps: [500], sigmas: [0.5] }, '`timesteps` were passed too'],
    ['a list that does not decrease', 'flow-euler', { sigmas: [0.5, 0.5] }, '`sigmas[1]` to be below 0.5'],
    ['a noise level of 0', 'flow-euler', { sigmas: [0.5, 0] }, '`sigmas[1]` to be a number above 0 and up to 1'],
    ['a noise level above 1', 'flow-euler', { sigmas: [1.1] }, '`sigmas[0]`'],
    ['a time above that of training', 'flow-euler', { timesteps: [1001] }, 'up to 1000'],
    ['a NaN', 'flow-euler', { timesteps: [Number.NaN] }, '`timesteps[0]`'],
    ['no numbers', 'flow-euler', { timesteps: [] }, 'a list of 1 to 500 numbers'],
    ['too many', 'flow-euler', { timesteps: Array.from({ length: 501 }, (_, i) => 600 - i) }, 'a list of 1 to 500'],
    [
      'times for the DPM solver',
      'flow-dpm-solver',
      { timesteps: [500] },
      'flow-dpm-solver supports no custom schedule',
    ],
    [
      'noise levels for the DPM solver',
      'flow-dpm-solver',
      { sigmas: [0.5] },
      'flow-dpm-solver supports no custom schedule',
    ],
  ];
  for (const [what, sampler, custom, message] of rejected) {
    it(`rejects ${what}`, () => {
      assert.throws(() => schedulerFor(flow, sampler, custom)(1), sanaError('ERR_SANA_ARGUMENT', message));
    });
  }

  it('SCM rejects noise levels, a list without an end, and angles in addition to a list', () => {
    const config = { className: 'SCMScheduler', numTrainTimesteps: 1000, sigmaData } as const;
    for (const [custom, message] of [
      [{ sigmas: [1, 0.5] }, 'scm supports only `timesteps`'],
      [{ timesteps: [1.5, 1] }, '`timesteps[1]` to be 0'],
      [{ timesteps: [1.6, 0] }, 'up to 1.5708'],
      [{ timesteps: [1.5, 0], maxTimesteps: 1.5 }, '`timesteps` already sets every angle'],
    ] as const) {
      assert.throws(() => schedulerFor(config, 'scm', custom)(1), sanaError('ERR_SANA_ARGUMENT', message));
    }
  });

  it('rejects a number of steps that differs from that of the list', () => {
    assert.throws(
      () => flowEuler(euler(3), 3, { sigmas: [1, 0.5] }),
      sanaError('ERR_SANA_ARGUMENT', 'as many as the custom schedule has'),
    );
  });

  it('the reference also has no custom schedules for the flow DPM solver', () => {
    assert.notEqual(golden.dpm.timesteps, null);
    assert.notEqual(golden.dpm.sigmas, null);
  });
});
