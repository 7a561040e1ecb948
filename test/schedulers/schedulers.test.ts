import assert from 'node:assert/strict';
import { isJsonObject, parseJsonObject } from '../../lib/base/json.ts';
import { parseSchedulerConfig } from '../../lib/checkpoint/configs.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import type { Tensor } from '../../lib/checkpoint/tensor-file.ts';
import type { SchedulerConfig } from '../../lib/schedulers/config.ts';
import { flowDpmSolver, type Schedule, schedulerFor } from '../../lib/schedulers/index.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, goldenTensors, openFile } from '../support/files.ts';

const SUPPORTED = ['dpm_shift3', 'dpm_shift6', 'dpm_heun', 'dpm_order1', 'euler_shift3', 'euler_shift1'];
const released = (overrides: object = {}): SchedulerConfig => parse({ ...RELEASED, ...overrides });
const parse = (json: object): SchedulerConfig =>
  parseSchedulerConfig(parseJsonObject(JSON.stringify(json), 'scheduler_config.json'), 'scheduler_config.json');
const RELEASED = {
  _class_name: 'DPMSolverMultistepScheduler',
  prediction_type: 'flow_prediction',
  use_flow_sigmas: true,
  flow_shift: 3,
  solver_order: 2,
  solver_type: 'midpoint',
};

describe('schedulers', () => {
  let golden: Map<string, Tensor>;
  let configs: Map<string, SchedulerConfig>;

  before(async () => {
    golden = await goldenTensors('schedulers');
    const file = openFile(fixture('golden', 'schedulers.safetensors'));
    const { metadata } = await readSafetensors(file);
    file.close();
    const all = parseJsonObject(metadata.get('configs') ?? '', 'configs');
    configs = new Map(
      SUPPORTED.map((name) => {
        const json = all[name];
        assert.ok(isJsonObject(json));
        const className = name.startsWith('dpm') ? 'DPMSolverMultistepScheduler' : 'FlowMatchEulerDiscreteScheduler';
        return [name, parseSchedulerConfig(json, name, className)];
      }),
    );
  });

  const tensor = (name: string): Tensor => golden.get(name) ?? assert.fail(`no golden ${name}`);
  const scheduleOf = (name: string, steps: number): Schedule =>
    schedulerFor(configs.get(name) ?? assert.fail(name))(steps);

  for (const name of SUPPORTED) {
    it(`${name} has the time steps and sigmas of the reference`, () => {
      let compared = 0;
      for (const steps of [1, 2, 3, 5, 10, 14, 15, 20, 50]) {
        const schedule = scheduleOf(name, steps);
        const timesteps = tensor(`${name}.${steps}.timesteps`).data;
        const sigmas = tensor(`${name}.${steps}.sigmas`).data;
        assert.equal(schedule.steps, steps);
        assert.equal(schedule.timesteps.length, timesteps.length);
        assert.equal(schedule.sigmas.length, sigmas.length);
        const tolerance = name.startsWith('dpm') ? 0 : 1e-4; // the integers are exact
        assertNear(schedule.timesteps, timesteps, tolerance, `${steps} steps`);
        assertNear(schedule.sigmas, sigmas, 1.2e-7, `${steps} steps`);
        compared += timesteps.length;
      }
      assert.equal(compared, 120);
    });

    it(`${name} makes the steps of the reference`, () => {
      let runs = 0;
      for (const steps of [1, 2, 3, 5, 10, 14, 15, 20]) {
        const outputs = golden.get(`${name}.${steps}.model_outputs`);
        if (outputs === undefined) continue; // recorded for two lengths at least, for the released shift for all
        const samples = tensor(`${name}.${steps}.samples`).data as Float32Array;
        const elements = samples.length / (steps + 1);
        const schedule = scheduleOf(name, steps);
        let x: Float32Array = samples.slice(0, elements);
        let previous: Float32Array = new Float32Array(elements);
        for (let i = 0; i < steps; i++) {
          const v = (outputs.data as Float32Array).subarray(i * elements, (i + 1) * elements);
          [x, previous] = step(schedule, i, x, v, previous);
          assertClose(x, samples.subarray((i + 1) * elements, (i + 2) * elements), `${steps} steps, step ${i}`);
        }
        runs++;
      }
      assert.ok(runs >= 2);
    });
  }

  it('the released solver shows the model integers and solves with exact sigmas', () => {
    const { timesteps, sigmas } = schedulerFor(released())(20);
    assert.deepEqual(timesteps.slice(0, 4), [999, 982, 963, 944]);
    assert.deepEqual(sigmas.slice(0, 2), [0.99966645, 0.98241949].map(Math.fround));
    assert.equal(sigmas[20], 0);
  });

  it('the released solver has the coefficients of the table', () => {
    const schedule = schedulerFor(released())(20);
    const table: [step: number, a: number, b: number, c: number][] = [
      [0, 0.982747, 0.017253, 0],
      [1, 0.981191, 0.02055, -0.001741],
      [9, 0.954523, 0.067764, -0.022286],
      [18, 0.545413, 0.821727, -0.36714],
      [19, 0, 1, 0],
    ];
    for (const [i, a, b, c] of table) {
      const found = schedule.coefficients(i);
      assert.ok(
        Math.abs(found.a - a) < 2e-6 && Math.abs(found.b - b) < 2e-6 && Math.abs(found.c - c) < 2e-6,
        `step ${i}`,
      );
    }
  });

  it('every update keeps a picture that is done: a + b + c at x = x0 gives the noise level alone', () => {
    for (const name of SUPPORTED) {
      for (const steps of [1, 2, 7, 20, 500]) {
        const schedule = scheduleOf(name, steps);
        for (let i = 0; i < steps; i++) {
          const { p, q, a, b, c } = schedule.coefficients(i);
          assert.ok([p, q, a, b, c].every(Number.isFinite), `${name} ${steps} ${i}`);
          // x = x0 (1 - sigma) must become x0 (1 - sigma').
          const made = a * (1 - (schedule.sigmas[i] ?? NaN)) + b + c;
          assert.ok(Math.abs(made - (1 - (schedule.sigmas[i + 1] ?? NaN))) < 1e-6, `${name} ${steps} ${i}: ${made}`);
        }
      }
    }
  });

  it('the last step is of first order if it ends at zero, if requested, and in short runs', () => {
    const last = (overrides: object, steps: number) => flowDpm(overrides, steps).coefficients(steps - 1).c;
    assert.equal(last({}, 20), 0);
    assert.equal(last({ final_sigmas_type: 'sigma_min', lower_order_final: true }, 14), 0);
    assert.equal(last({ final_sigmas_type: 'sigma_min', euler_at_final: true, lower_order_final: false }, 20), 0);
    const { sigmas } = flowDpm({ final_sigmas_type: 'sigma_min' }, 5);
    assert.equal(sigmas[5], sigmas[4]);
    assert.notEqual(flowDpm({ lower_order_final: false }, 5).coefficients(3).c, 0);
  });
  const flowDpm = (overrides: object, steps: number): Schedule => {
    const config = released(overrides);
    assert.equal(config.className, 'DPMSolverMultistepScheduler');
    return flowDpmSolver(config, steps);
  };

  it('an override keeps the shift of the checkpoint', () => {
    const euler = schedulerFor(released({ flow_shift: 6 }), 'flow-euler')(20);
    assert.ok(Math.abs((euler.sigmas[19] ?? NaN) - 0.034783) < 1e-6);
    const back = schedulerFor(
      parse({ _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 }),
      'flow-dpm-solver',
    )(20);
    assert.deepEqual(back.timesteps, schedulerFor(released())(20).timesteps);
  });

  it('rejects invalid numbers of steps', () => {
    for (const steps of [0, -1, 501, 2.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => schedulerFor(released())(steps), sanaError('ERR_SANA_ARGUMENT', 'steps', '1 to 500'));
    }
    for (const i of [-1, 20, 0.5]) {
      assert.throws(() => schedulerFor(released())(20).coefficients(i), sanaError('ERR_SANA_ARGUMENT', 'step'));
    }
  });
});

/** One update, in f32 as a backend does it. */
function step(
  schedule: Schedule,
  i: number,
  x: Float32Array,
  v: Float32Array,
  previous: Float32Array,
): [Float32Array, Float32Array] {
  const { p, q, a, b, c } = schedule.coefficients(i);
  const x0 = x.map((value, k) => p * value + q * (v[k] ?? NaN));
  return [x.map((value, k) => a * value + b * (x0[k] ?? NaN) + c * (previous[k] ?? NaN)), x0];
}

function assertClose(found: Float32Array, expected: Float32Array, what: string): void {
  let difference = 0;
  let norm = 0;
  let largest = 0;
  expected.forEach((value, i) => {
    const error = (found[i] ?? NaN) - value;
    largest = Math.max(largest, Math.abs(error));
    difference += error * error;
    norm += value * value;
  });
  const relative = Math.sqrt(difference / norm);
  assert.ok(largest <= 5e-6 && relative <= 2e-6, `${what}: max abs ${largest}, rel l2 ${relative}`);
}

function assertNear(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, what: string): void {
  for (let i = 0; i < expected.length; i++) {
    assert.ok(
      Math.abs((found[i] ?? NaN) - (expected[i] ?? NaN)) <= tolerance,
      `${what}: ${found[i]} is not ${expected[i]}`,
    );
  }
}
