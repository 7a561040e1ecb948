import assert from 'node:assert/strict';
import type { TensorLike } from '../../lib/index.ts';
import { TorchGenerator } from '../../lib/pipeline/noise.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { scm } from '../../lib/schedulers/index.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { assertClose, errorOf, GoldenFile, tolerances } from '../support/golden.ts';
import { layOver, pictures } from '../support/pipelines.ts';
import { runOf } from '../support/runs.ts';

const sigmaData = 0.5; // of the reference: its latents are ours times this

describe('a Sprint model', () => {
  const golden = new GoldenFile('pipeline_sprint');
  let laid: ReturnType<typeof layOver>;
  let pipe: SanaPipeline;
  before(async () => {
    laid = layOver('sana-sprint');
    pipe = await SanaPipeline.fromPretrained(laid.path, { device: testDevice, dtype: 'float32' });
  });
  after(async () => {
    await pipe.dispose();
    laid.remove();
  });

  const prompt = runOf('sprint.2').prompts[0] ?? '';

  /** The loop of lib/pipeline/pipeline.ts on the host, with given noise: each step's estimate and the last latents. */
  async function loop(steps: number, guidance: number, start: Float32Array, noise: (step: number) => Float32Array) {
    const { embeds, mask } = await pipe.textEncoder.encode({ prompt });
    const schedule = scm(steps);
    let y = start.map((value) => value * schedule.startScale);
    const clean: Float32Array[] = [];
    for (let i = 0; i < steps; i++) {
      const latents: TensorLike = { data: y, shape: [1, 32, 8, 8] };
      const timestep = schedule.timesteps[i] ?? Number.NaN;
      const output = await pipe.transformer.forward({ latents, timestep, embeds, mask, guidance });
      const { p, q, b, c } = schedule.coefficients(i);
      const x0 = y.map((value, k) => p * value + q * (output.data[k] ?? 0));
      const added = noise(i);
      y = x0.map((value, k) => b * value + c * (added[k] ?? 0));
      clean.push(x0);
    }
    return { clean, latents: y };
  }

  for (const tag of ['sprint.1', 'sprint.2', 'sprint.4']) {
    it(`repeats ${tag}: every step's estimate of the picture`, async () => {
      const run = runOf(tag);
      const recorded = golden.get(`${tag}.in.noise`).data;
      const noise = (step: number) => recorded.subarray(step * 2048, (step + 1) * 2048);
      const start = golden.get(`${tag}.in.latents`).data;
      const { clean, latents } = await loop(run.steps, run.guidance_scale, start, noise);
      const expected = golden.get(`${tag}.denoised`).data.map((value) => value / sigmaData);
      clean.forEach((x0, i) => {
        const step = expected.subarray(i * 2048, (i + 1) * 2048);
        assertClose(x0, step, tolerances.pipelineLatents, `step ${i + 1}`);
      });
      assertClose(latents, clean.at(-1) ?? [], { maxAbs: 1e-6, relL2: 1e-6 });
    });
  }

  it('draws what the loop gives with the noise of the seed, drawn on from step to step', async () => {
    const generator = new TorchGenerator(9);
    const start = await generator.draw(2048);
    const noise = [await generator.draw(2048), await generator.draw(2048), new Float32Array(2048)];
    const { latents } = await loop(3, 4.5, start, (step) => noise[step] ?? assert.fail());
    const request = { prompt, seed: 9, numInferenceSteps: 3, width: 256, height: 256, useResolutionBinning: false };
    const drawn = await pipe.generate({ ...request, outputType: 'latent' });
    assertClose(drawn.latents?.data ?? [], latents, tolerances.pipelineLatents);
    // Image i of a batch is the image of its seed alone.
    const both = await pipe.generate({ ...request, seed: 8, numImagesPerPrompt: 2 });
    const alone = await pipe.generate(request);
    assert.equal(pictures(both)[1], pictures(alone)[0]);
  });

  it('makes the picture of sprint.2 from its start latents, except for the noise of the second step', async () => {
    const { images } = await pipe.generate({
      prompt,
      latents: golden.get('sprint.2.in.latents'),
      seed: 3,
      width: 256,
      height: 256,
      useResolutionBinning: false,
    });
    const expected = golden.get('sprint.2.image_u8').data;
    assert.ok(errorOf(images[0]?.data ?? [], expected).relL2 < 0.5);
    assert.equal(images[0]?.parameters?.scheduler, 'scm');
    assert.equal(images[0]?.parameters?.numInferenceSteps, 2);
  });

  it('hears its guidance scale', async () => {
    const request = {
      prompt,
      seed: 1,
      width: 64,
      height: 64,
      useResolutionBinning: false,
      outputType: 'latent' as const,
    };
    const [low, high] = [await pipe.generate({ ...request, guidanceScale: 1 }), await pipe.generate(request)];
    assert.ok(errorOf(low.latents?.data ?? [], high.latents?.data ?? []).relL2 > 1e-4);
  });

  for (const [what, fields, message] of [
    ['a negative prompt', { negativePrompt: 'blurry' }, /negativePrompt/],
    ['another sampler', { scheduler: 'flow-euler' }, /`scheduler` to be 'scm'/],
    [
      'an intermediate time with four steps',
      { numInferenceSteps: 4, intermediateTimesteps: 1.3 },
      /because it needs two/,
    ],
    ['an intermediate time after the first', { intermediateTimesteps: 1.6 }, /an angle above 0 and up to 1.5708/],
    ['a time beyond the first', { maxTimesteps: 2 }, /an angle above 0/],
  ] as const) {
    it(`rejects ${what}`, async () => {
      await assert.rejects(pipe.generate({ prompt, ...fields }), sanaError('ERR_SANA_ARGUMENT', message));
    });
  }
});
