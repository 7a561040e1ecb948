import assert from 'node:assert/strict';
import type { GenerateRequest, RawImage } from '../../lib/index.ts';
import { TorchGenerator } from '../../lib/pipeline/noise.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { atDrawnSize, covering } from '../../lib/pipeline/source-image.ts';
import { schedulerFor } from '../../lib/schedulers/index.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { assertClose, errorOf, tolerances } from '../support/golden.ts';
import { layOver, loadTiny, pictures } from '../support/pipelines.ts';
import { Random } from '../support/random.ts';

/** A picture with something in every corner: smooth, so that resizing it changes little. */
function picture(width: number, height: number, seed = 1): RawImage {
  const random = new Random(seed);
  const waves = Array.from({ length: 3 }, () => [0, 0, 0].map(() => 1 + Math.abs(random.normal(1)[0] ?? 0)));
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        const [a = 1, b = 1, phase = 0] = waves[c] ?? [];
        data[(y * width + x) * 3 + c] = 128 + 120 * Math.sin((a * x) / width + (b * y) / height + phase);
      }
    }
  }
  return { width, height, data };
}

/** White where `inside` is true, otherwise black. */
function mask(width: number, height: number, inside: (x: number, y: number) => boolean): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    if (inside(i % width, Math.floor(i / width))) data.fill(255, 3 * i, 3 * i + 3);
  }
  return { width, height, data };
}

const base = {
  prompt: 'a red fox in snow',
  negativePrompt: 'blurry',
  seed: 5,
  useResolutionBinning: false,
} satisfies GenerateRequest;

describe('image to image', () => {
  let pipe: SanaPipeline;
  before(async () => {
    pipe = await loadTiny();
  });
  after(() => pipe.dispose());

  for (const scheduler of ['flow-dpm-solver', 'flow-euler'] as const) {
    it(`starts the schedule of ${scheduler} at the step given by strength, from the noised picture`, async () => {
      const image = picture(96, 64);
      const steps = 5;
      const first = 2; // of strength 0.6
      const request = { ...base, image, strength: 0.6, numInferenceSteps: steps, scheduler };
      const { latents } = await pipe.generate({ ...request, outputType: 'latent' });

      const z = await pipe.autoencoder.encode(image);
      const noise = await new TorchGenerator(base.seed).draw(z.data.length);
      const config = { className: 'DPMSolverMultistepScheduler', numTrainTimesteps: 1000, flowShift: 3 } as const;
      const released = { solverOrder: 2, solverType: 'midpoint', lowerOrderFinal: true } as const;
      const schedule = schedulerFor(
        { ...config, ...released, eulerAtFinal: false, finalSigmasType: 'zero' },
        scheduler,
      )(steps);
      const sigma = schedule.sigmas[first] ?? 0;
      const scale = 0.41407;
      let x = z.data.map((value, i) => (1 - sigma) * scale * value + sigma * (noise[i] ?? 0));
      let previous = new Float32Array(x.length);
      const text = async (prompt: string, complexHumanInstruction?: null) =>
        await pipe.textEncoder.encode({ prompt, ...(complexHumanInstruction === null && { complexHumanInstruction }) });
      const [negative, positive] = [await text('blurry', null), await text(base.prompt)];
      for (let i = first; i < steps; i++) {
        const inputs = { latents: { data: x, shape: z.shape }, timestep: schedule.timesteps[i] ?? 0 };
        const [without, within] = [
          await pipe.transformer.forward({ ...inputs, ...negative }),
          await pipe.transformer.forward({ ...inputs, ...positive }),
        ];
        const { p, q, a, b, c } = schedule.coefficients(i, first);
        assert.ok(i > first || c === 0, 'the first step has no estimate before it');
        const v = without.data.map((value, k) => value + 4.5 * ((within.data[k] ?? 0) - value));
        const x0 = x.map((value, k) => p * value + q * (v[k] ?? 0));
        x = x.map((value, k) => a * value + b * (x0[k] ?? 0) + c * (previous[k] ?? 0));
        previous = x0;
      }
      assertClose(latents?.data ?? [], x, tolerances.pipelineLatents);
    });
  }

  it('runs the share of the steps given by strength, and reports them', async () => {
    for (const [strength, expected] of [
      [1, 4],
      [0.75, 3],
      [0.6, 3],
      [0.01, 1],
    ] as const) {
      const steps: [number, number][] = [];
      const { timings, images } = await pipe.generate({
        ...base,
        image: picture(64, 64),
        strength,
        numInferenceSteps: 4,
        onStep: ({ step, totalSteps }) => {
          steps.push([step, totalSteps]);
        },
      });
      assert.deepEqual(
        steps,
        Array.from({ length: expected }, (_, i) => [i + 1, expected]),
      );
      assert.equal(timings.stepMs.length, expected);
      assert.ok(timings.imageMs > 0);
      assert.equal(images[0]?.parameters?.strength, strength);
      assert.match(images[0]?.parameters?.imageSha256 ?? '', /^[0-9a-f]{64}$/);
    }
  });

  it('uses the size of the picture, and each image of a batch is the same as alone with its seed', async () => {
    const image = picture(70, 90);
    const two = await pipe.generate({ ...base, image, numInferenceSteps: 2, numImagesPerPrompt: 2 });
    assert.deepEqual([two.images[0]?.width, two.images[0]?.height], [64, 96]);
    const second = await pipe.generate({ ...base, image, numInferenceSteps: 2, seed: 6 });
    assert.equal(pictures(two)[1], pictures(second)[0]);
    const binned = await pipe.generate({ ...base, image, numInferenceSteps: 1, useResolutionBinning: true });
    assert.deepEqual([binned.images[0]?.width, binned.images[0]?.height], [70, 90]);
  });

  it('can be aborted while the picture is encoded', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const running = pipe.generate({ ...base, image: picture(512, 512), signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    await assert.rejects(running, reason);
  });

  for (const [what, fields, message] of [
    ['strength 0', { image: picture(64, 64), strength: 0 }, /`strength` to be a number above 0 and up to 1, got 0/],
    ['strength above 1', { image: picture(64, 64), strength: 1.5 }, /above 0 and up to 1/],
    ['strength without a picture', { strength: 0.5 }, /`strength` cannot be used here: there is no `image`/],
    ['a mask without a picture', { maskImage: picture(64, 64) }, /`maskImage` cannot be used here/],
    ['a picture that is none', { image: { width: 2, height: 2, data: new Uint8Array(3) } }, /image.data.length/],
    ['a width that is no multiple of 32', { image: picture(64, 64), width: 100 }, /`width` to be a multiple of 32/],
  ] as const) {
    it(`rejects ${what}`, async () => {
      await assert.rejects(pipe.generate({ ...base, ...fields }), sanaError('ERR_SANA_ARGUMENT', message));
    });
  }

  it('names a picture file that is not there', async () => {
    await assert.rejects(pipe.generate({ ...base, image: 'nowhere.png' }), sanaError('ERR_SANA_FILE', 'nowhere.png'));
  });
});

describe('image to image, as planned', () => {
  it('predicts its memory', async () => {
    const request = { ...base, image: picture(64, 64), numInferenceSteps: 2 };
    await using fresh = await loadTiny();
    const { stages, memory } = await fresh.explain(request);
    assert.deepEqual(
      stages.map(({ name, runs }) => `${name} ${runs}`).filter((name) => /encode 1$|denoise/.test(name)),
      ['text_encode 1', 'encode 1', 'denoise_step 2'],
    );
    const { memory: measured } = await fresh.generate(request);
    assert.equal(measured.peakBytes, memory.peakBytes);
  });
});

describe('inpainting', () => {
  let pipe: SanaPipeline;
  before(async () => {
    pipe = await loadTiny();
  });
  after(() => pipe.dispose());
  const request = { ...base, numInferenceSteps: 3 };

  it('leaves every pixel outside the mask as it was, and draws what is inside', async () => {
    const image = picture(128, 96);
    const maskImage = mask(128, 96, (x, y) => x >= 40 && x < 90 && y >= 30);
    const { images } = await pipe.generate({ ...request, image, maskImage });
    const drawn = images[0]?.data ?? new Uint8Array();
    let changed = 0;
    for (let i = 0; i < drawn.length; i++) {
      if (maskImage.data[i] === 0) assert.equal(drawn[i], image.data[i], `byte ${i}`);
      else if (drawn[i] !== image.data[i]) changed++;
    }
    assert.ok(changed > maskImage.data.filter((byte) => byte > 0).length / 2);
    assert.equal(images[0]?.parameters?.strength, 1);
    assert.match(images[0]?.parameters?.maskSha256 ?? '', /^[0-9a-f]{64}$/);
  });

  it('keeps the pixels outside the mask when the model draws at another size', async () => {
    const image = picture(90, 120);
    const maskImage = mask(90, 120, (x) => x < 30);
    const { images } = await pipe.generate({
      ...request,
      image,
      maskImage,
      useResolutionBinning: true,
      numInferenceSteps: 1,
    });
    const drawn = images[0]?.data ?? new Uint8Array();
    assert.ok(drawn.every((byte, i) => maskImage.data[i] !== 0 || byte === image.data[i]));
  });

  it('gives the picture back under a black mask, and draws all of it under a white one', async () => {
    const image = picture(64, 64);
    const black = await pipe.generate({ ...request, image, maskImage: mask(64, 64, () => false) });
    assert.deepEqual(black.images[0]?.data, image.data);
    const white = await pipe.generate({ ...request, image, maskImage: mask(64, 64, () => true) });
    assert.deepEqual(pictures(white), pictures(await pipe.generate({ ...request, image, strength: 1 })));
  });

  it('mixes where the mask is grey', async () => {
    const image = picture(64, 64);
    const grey = mask(64, 64, () => true);
    grey.data.fill(128);
    const white = (await pipe.generate({ ...request, image, maskImage: mask(64, 64, () => true) })).images[0]?.data;
    const mixed = (await pipe.generate({ ...request, image, maskImage: grey })).images[0]?.data;
    const toImage = errorOf(mixed ?? [], Float32Array.from(image.data)).relL2;
    assert.ok(toImage > 0 && toImage < errorOf(white ?? [], Float32Array.from(image.data)).relL2);
  });

  it('passes latents whose known part is the picture to onStep', async () => {
    const image = picture(64, 64);
    const maskImage = mask(64, 64, (x) => x < 32);
    const { latents } = await pipe.generate({ ...request, image, maskImage, outputType: 'latent' });
    const known = await pipe.autoencoder.encode(image);
    const right = (data: Float32Array) => data.filter((_, i) => i % 2 === 1); // of two columns
    const expected = right(known.data).map((value) => value * 0.41407);
    assertClose(right(latents?.data ?? new Float32Array()), expected, { maxAbs: 1e-5, relL2: 1e-5 });
  });
});

describe('image to image of a Sprint model', () => {
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
  const request = { prompt: base.prompt, seed: 5, useResolutionBinning: false } satisfies GenerateRequest;

  it('does one of two steps at strength 0.5 and both above', async () => {
    for (const [strength, expected] of [
      [0.5, 1],
      [0.6, 2],
    ] as const) {
      const { timings } = await pipe.generate({ ...request, image: picture(64, 64), strength });
      assert.equal(timings.stepMs.length, expected);
    }
  });

  it('notes the picture by the angle of the step: x = cos t x0 + sin t noise', async () => {
    const image = picture(64, 64);
    const { latents } = await pipe.generate({ ...request, image, strength: 0.5, outputType: 'latent' });
    const z = await pipe.autoencoder.encode(image);
    const noise = await new TorchGenerator(5).draw(z.data.length);
    const [cos, sin] = [Math.cos(1.3), Math.sin(1.3)];
    const s = sin / (cos + sin);
    const norm = Math.hypot(s, 1 - s);
    const y = z.data.map((value, i) => norm * (cos * 0.41407 * value + sin * (noise[i] ?? 0)));
    const { embeds, mask: tokens } = await pipe.textEncoder.encode({ prompt: base.prompt });
    const output = await pipe.transformer.forward({
      latents: { data: y, shape: z.shape },
      timestep: s,
      embeds,
      mask: tokens,
      guidance: 4.5,
    });
    const expected = y.map((value, i) => {
      const o = ((1 - 2 * s) * value + (1 - 2 * s + 2 * s * s) * (output.data[i] ?? 0)) / norm;
      return (cos * value) / norm - sin * o;
    });
    assertClose(latents?.data ?? [], expected, tolerances.pipelineLatents);
  });
});

describe('a picture made to fit', () => {
  it('covers another shape and is cut around its middle', async () => {
    const wide = await covering(picture(120, 60), { width: 60, height: 60 });
    assert.deepEqual([wide.width, wide.height, wide.data.length], [60, 60, 60 * 60 * 3]);
    const same = picture(32, 32);
    assert.equal(await covering(same, same), same);
  });

  it('is placed in the drawn picture so that resizing and cropping restores it', async () => {
    const given = picture(90, 120);
    const drawn = await atDrawnSize(given, { width: 96, height: 160 });
    assert.deepEqual([drawn.width, drawn.height], [96, 160]);
    // 96 x 160 covers 90 x 120 as 90 x 150, 15 rows of which are cut at the top: row r of 120 is at (r + 15) 160 / 150.
    for (const [x, y] of [
      [10, 10],
      [80, 60],
      [45, 110],
    ] as const) {
      const [dx, dy] = [Math.round((x * 96) / 90), Math.round(((y + 15) * 160) / 150)];
      for (let c = 0; c < 3; c++) {
        const difference = (given.data[(y * 90 + x) * 3 + c] ?? 0) - (drawn.data[(dy * 96 + dx) * 3 + c] ?? 0);
        assert.ok(Math.abs(difference) <= 6, `${x}, ${y}: ${difference}`);
      }
    }
  });
});
