import assert from 'node:assert/strict';
import { scm } from '../../lib/schedulers/index.ts';
import { sanaError } from '../support/errors.ts';
import { assertClose, GoldenFile, tolerances } from '../support/golden.ts';

const sigmaData = 0.5; // of the reference: its latents are ours times this

describe('scm', () => {
  const golden = new GoldenFile('schedulers');

  for (const [name, steps, intermediateTimesteps] of [
    ['scm.1', 1, undefined],
    ['scm.2', 2, null],
    ['scm.2.mid1.3', 2, undefined],
    ['scm.3', 3, undefined],
    ['scm.4', 4, undefined],
  ] as const) {
    it(`makes the steps of ${name}`, () => {
      const part = (of: string, i: number, count: number) => {
        const { data } = golden.get(`${name}.${of}`);
        return data.subarray((i * data.length) / count, ((i + 1) * data.length) / count);
      };
      const schedule = scm(steps, { intermediateTimesteps });
      const angles = golden.get(`${name}.timesteps`).data;
      let y = part('samples', 0, steps + 1).map((x) => (x / sigmaData) * schedule.startScale);
      for (let i = 0; i < steps; i++) {
        const s = schedule.timesteps[i] ?? Number.NaN;
        const angle = angles[i] ?? Number.NaN;
        assert.ok(Math.abs(s - Math.sin(angle) / (Math.sin(angle) + Math.cos(angle))) < 2e-7);
        // The reference's scheduler is given what its pipeline makes of the transformer's output: undo that.
        const norm = Math.hypot(s, 1 - s);
        const output = part('model_outputs', i, steps).map(
          (o, k) => ((o / sigmaData) * norm - (1 - 2 * s) * (y[k] ?? 0)) / (1 - 2 * s + 2 * s * s),
        );
        const { p, q, a, b, c } = schedule.coefficients(i);
        assert.equal(a, 0);
        const clean = y.map((value, k) => p * value + q * (output[k] ?? 0));
        assertClose(
          clean,
          part('denoised', i, steps).map((x) => x / sigmaData),
          tolerances.scheduler,
          `clean ${i}`,
        );
        const noise = part('noise', i, steps);
        y = clean.map((x0, k) => b * x0 + c * (noise[k] ?? 0));
        const { clean: cleanShare, noise: noiseShare } = schedule.mix(i + 1);
        assert.deepEqual([b, c], [cleanShare, noiseShare]);
        if (i + 1 === steps) continue; // after the last step the noise is gone: y is the picture
        const next = schedule.sigmas[i + 1] ?? Number.NaN;
        const expected = part('samples', i + 1, steps + 1).map((x) => (x / sigmaData) * Math.hypot(next, 1 - next));
        assertClose(y, expected, tolerances.scheduler, `step ${i}`);
      }
      const last = part('denoised', steps - 1, steps).map((x) => x / sigmaData);
      assertClose(y, last, tolerances.scheduler, 'the picture');
    });
  }

  it('starts the second of two steps at 1.3 by default, and works with any other number of steps', () => {
    assert.ok(Math.abs((scm(2).sigmas[1] ?? 0) - 0.782708) < 1e-6);
    assert.ok(Math.abs((scm(2, { intermediateTimesteps: null }).sigmas[1] ?? 0) - 0.5) < 1e-5);
    assert.equal(scm(4).steps, 4);
    assert.throws(
      () => scm(4, { intermediateTimesteps: 1.3 }),
      sanaError('ERR_SANA_ARGUMENT', 'intermediateTimesteps'),
    );
  });
});
