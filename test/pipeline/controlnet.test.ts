import assert from 'node:assert/strict';
import { join } from 'node:path';
import sharp from 'sharp';
import type { GenerateRequest, LoadOptions, RawImage, StepInfo } from '../../lib/index.ts';
import { channelsLast } from '../../lib/models/channel-order.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint/checkpoint.ts';
import { CheckpointCopy, elementsOf } from '../support/checkpoints.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, temporaryFolder } from '../support/files.ts';
import { assertClose, errorOf, GoldenFile, tolerances } from '../support/golden.ts';
import { limitMemory } from '../support/limited-memory.ts';
import {
  cpuPaths,
  layOver,
  loadTiny,
  onCpuPath,
  pictures,
  small,
  supportsCpuPath,
  tinyModel,
  watchDevice,
} from '../support/pipelines.ts';
import { Random } from '../support/random.ts';
import { tinyCheckpoint } from '../support/random-checkpoints.ts';
import { assertRun, repeat, requestOf, runOf } from '../support/runs.ts';

const golden = new GoldenFile('pipeline_controlnet');
const run = runOf('controlnet');
const weights = 'controlnet/diffusion_pytorch_model.safetensors';

/** A picture with different pixels for every seed. */
function noise(seed: number, width: number, height: number): RawImage {
  const data = Uint8Array.from(new Random(seed).uniform(width * height * 3, 1), (x) => Math.floor(128 + 127 * x));
  return { width, height, data };
}

/** The picture of the recorded run. */
function recordedPicture(): RawImage {
  const { shape, data } = golden.get('controlnet.in.control_image_u8');
  const [, , height = 0, width = 0] = shape;
  return { width, height, data: Uint8Array.from(channelsLast(data, 1, 3, width * height)) };
}

const controlImage = noise(1, 96, 64);
const steered = { ...small, controlImage } satisfies GenerateRequest;

const openTiny = (path: string, options: LoadOptions = {}) =>
  SanaPipeline.fromPretrained(path, { device: testDevice, dtype: 'float32', ...options });

describe('a ControlNet pipeline', () => {
  let laid: ReturnType<typeof layOver>;
  let pipe: SanaPipeline;
  const open = (options: LoadOptions = {}) => openTiny(laid.path, options);
  const draw = async (request: Partial<GenerateRequest> = {}, using = pipe) =>
    pictures(await using.generate({ ...steered, ...request }));
  before(async () => {
    laid = layOver('sana-controlnet');
    pipe = await open();
  });
  after(async () => {
    await pipe.dispose();
    laid.remove();
  });

  describe('against the reference', () => {
    const request = (): GenerateRequest => ({
      ...requestOf(run, golden),
      controlImage: recordedPicture(),
      controlnetConditioningScale: run.controlnet_conditioning_scale ?? assert.fail(),
    });

    it("makes the recorded run: every step's latents and the picture", async () => {
      assertRun(run, await repeat(pipe, run, request()), golden);
    });

    it('encodes the picture as recorded', async () => {
      const z = await pipe.autoencoder.encode(recordedPicture());
      const scaled = z.data.map((value) => value * 0.41407);
      assertClose(scaled, golden.get('controlnet.control_latents').data, tolerances.encode);
    });

    it('stays near it in bfloat16', async () => {
      await using bf16 = await open({ dtype: 'bfloat16' });
      const { steps } = await repeat(bf16, run, request());
      const expected = golden.get('controlnet.step_latents').data;
      const { relL2 } = errorOf(steps.at(-1)?.data ?? [], expected.slice(-32 * 4 * 6));
      assert.ok(relL2 < 0.16, `final latents rel_l2 ${relL2}`); // what the reference's own bf16 runs come to
    });

    it('gives the steered velocity of a single forward, and without control latents that of the transformer', async () => {
      const recorded = new GoldenFile('controlnet');
      const inputs = {
        latents: recorded.get('in.latents'),
        timestep: [...recorded.get('in.timestep').data],
        embeds: recorded.get('in.encoder_hidden_states'),
        mask: recorded.get('in.encoder_attention_mask'),
      };
      const controlLatents = recorded.get('in.controlnet_cond');
      const scale = { controlnetConditioningScale: 0.8 };
      const velocity = await pipe.transformer.forward({ ...inputs, controlLatents, ...scale });
      assertClose(velocity.data, recorded.get('transformer_output').data, tolerances.transformer);
      await using base = await loadTiny();
      assert.deepEqual(await pipe.transformer.forward(inputs), await base.transformer.forward(inputs));
      // One picture for all items is the same picture for each.
      const first = controlLatents.data.slice(0, 32 * 64);
      const one = { data: first, shape: [1, 32, 8, 8] };
      const both = { data: Float32Array.of(...first, ...first), shape: [2, 32, 8, 8] };
      assert.deepEqual(
        await pipe.transformer.forward({ ...inputs, controlLatents: one }),
        await pipe.transformer.forward({ ...inputs, controlLatents: both }),
      );
      const refused = sanaError('ERR_SANA_ARGUMENT', 'controlLatents');
      const wrong = { data: first, shape: [1, 32, 4, 16] };
      await assert.rejects(pipe.transformer.forward({ ...inputs, controlLatents: wrong }), refused);
      await assert.rejects(pipe.transformer.forward({ ...inputs, ...scale }), refused);
      await assert.rejects(base.transformer.forward({ ...inputs, controlLatents }), refused);
    });

    it('gets the unscaled timestep, whatever the scale of the transformer', async () => {
      using copy = new CheckpointCopy('sana-controlnet');
      copy.changeJson('transformer/config.json', (json) => {
        json.timestep_scale = 0.5;
      });
      await using scaled = await SanaPipeline.fromPretrained(copy.path, { device: testDevice, dtype: 'float32' });
      assert.deepEqual(await draw({}, scaled), await draw());
    });
  });

  describe('draws', () => {
    it('by the picture, as strongly as the scale says; with 0, as the model draws without it', async () => {
      const [first] = await draw();
      for (const other of [{ controlImage: noise(2, 96, 64) }, { controlnetConditioningScale: 0.5 }]) {
        assert.notDeepEqual(await draw(other), [first]);
      }
      await using base = await loadTiny();
      assert.deepEqual(await draw({ controlnetConditioningScale: 0 }), pictures(await base.generate(small)));
    });

    it('by a picture in any form, stretched to the size drawn at', async () => {
      const expected = await draw();
      const png = await pngOf(controlImage);
      for (const same of [png, sharp(png), [png]]) assert.deepEqual(await draw({ controlImage: same }), expected);
      const flat = (side: number) => ({ width: side, height: side, data: new Uint8Array(3 * side * side).fill(200) });
      assert.deepEqual(await draw({ controlImage: flat(500) }), await draw({ controlImage: flat(7) }));
    });

    it('the same bytes again, on any number of threads, in any offload mode, and with another pipeline', async () => {
      const request = { prompt: ['a fox', 'a longer prompt, of a lighthouse'], numImagesPerPrompt: 2 };
      const dtype = 'bfloat16';
      await using first = await open({ dtype });
      const expected = await draw(request, first);
      assert.deepEqual(await draw(request, first), expected);
      for (const options of [{ threads: 1, offload: 'text-encoder' }, { offload: 'sequential' }] as const) {
        await using other = await open({ dtype, ...options });
        for (let call = 0; call < 2; call++) assert.deepEqual(await draw(request, other), expected);
      }
    });

    it('with perturbed attention, and from a picture, as well', async () => {
      const request = { pagScale: 2, image: noise(9, 96, 64), strength: 0.5, numImagesPerPrompt: 2 };
      const [first, second] = await draw(request);
      assert.deepEqual(await draw({ ...request, numImagesPerPrompt: 1, seed: 8 }), [second]);
      for (const other of [{ pagScale: 0 }, { image: controlImage }, { controlnetConditioningScale: 0.5 }]) {
        assert.notEqual((await draw({ ...request, ...other }))[0], first);
      }
      await using base = await loadTiny();
      const { controlImage: _, ...alone } = { ...steered, ...request };
      assert.deepEqual(
        await draw({ ...request, controlnetConditioningScale: 0 }),
        pictures(await base.generate(alone)),
      );
    });

    it('several images by one picture, or each prompt by its own, as it draws them alone', async () => {
      const prompt = ['a red fox in snow', 'a much longer prompt, of a lighthouse by the sea', 'x'];
      const one = await draw({ prompt, numImagesPerPrompt: 2 });
      const own = [3, 4, 5].map((seed) => noise(seed, 96, 64));
      const each = await draw({ prompt, numImagesPerPrompt: 2, controlImage: own });
      for (let i = 0; i < 6; i++) {
        const alone = { prompt: prompt[Math.floor(i / 2)] ?? '', seed: 7 + i };
        assert.deepEqual(await draw(alone), [one[i]], `image ${i}`);
        assert.deepEqual(await draw({ ...alone, controlImage: own[Math.floor(i / 2)] ?? '' }), [each[i]], `image ${i}`);
      }
      const [unguided] = await draw({ guidanceScale: 1 });
      assert.deepEqual(
        (await draw({ prompt, guidanceScale: 1, controlImage: [controlImage, ...own.slice(1)] }))[0],
        unguided,
      );
    });

    it('at another size, with previews', async () => {
      const sizes: number[][] = [];
      const onStep = async (step: StepInfo) => {
        const { width, height, parameters } = await step.preview();
        sizes.push([width, height, parameters.controlImageSha256?.length ?? 0]);
      };
      const request = { width: 70, height: 50, useResolutionBinning: true, numInferenceSteps: 1, onStep };
      const { images } = await pipe.generate({ ...steered, ...request });
      assert.deepEqual(sizes, [[70, 50, 64]]);
      assert.deepEqual([images[0]?.width, images[0]?.height], [70, 50]);
      const { width, height } = await pipe.explain('a fox');
      assert.deepEqual([width, height], [1024, 1024]); // the model's, with no picture given
    });

    it('and records the scale and a hash of the pixels', async () => {
      const request = { ...steered, prompt: ['a', 'b'], controlImage: [controlImage, noise(2, 50, 40)] };
      const { images } = await pipe.generate({ ...request, controlnetConditioningScale: 0.25 });
      const [first, second] = images.map(({ parameters }) => parameters);
      assert.equal(first?.controlnetConditioningScale, 0.25);
      assert.match(first?.controlImageSha256 ?? '', /^[0-9a-f]{64}$/);
      assert.notEqual(first?.controlImageSha256, second?.controlImageSha256);
      const [png] = (await pipe.generate({ ...steered, controlImage: await pngOf(controlImage) })).images;
      assert.equal(png?.parameters.controlImageSha256, first?.controlImageSha256);
      await using base = await loadTiny();
      const [alone] = (await base.generate(small)).images;
      assert.equal('controlnetConditioningScale' in (alone?.parameters ?? {}), false);
      assert.notEqual(alone?.parameters.modelFingerprint, first?.modelFingerprint);
    });
  });

  describe('is loaded', () => {
    it("from a separate folder for any model, replacing the model's own", async () => {
      const expected = await draw();
      for (const controlnet of [fixture('sana-controlnet/controlnet'), fixture('sana-controlnet')]) {
        await using other = await loadTiny({ controlnet });
        assert.deepEqual(await draw({}, other), expected);
      }
      using copy = new CheckpointCopy('sana-controlnet');
      await copy.changeTensors(weights, (tensors) => elementsOf(tensors, 'input_block.bias').fill(3));
      await using replaced = await open({ controlnet: copy.path });
      assert.notDeepEqual(await draw({}, replaced), expected);
    });

    it('with progress events', async () => {
      const seen = new Set<string>();
      let last = { loadedBytes: 0, totalBytes: 1 };
      await using _ = await open({
        onProgress: (event) => {
          if (event.component !== undefined) seen.add(event.component);
          last = event;
        },
      });
      assert.deepEqual([...seen].sort(), ['controlnet', 'text_encoder', 'transformer', 'vae']);
      assert.equal(last.loadedBytes, last.totalBytes);
    });

    const load = (path: string, options: LoadOptions = {}) =>
      SanaPipeline.fromPretrained(path, { device: testDevice, ...options });

    it('or rejected, with the reason', async () => {
      for (const [controlnet, ...parts] of [
        ['/nonexistent/controlnet', '/nonexistent/controlnet: the ControlNet is not there'],
        [fixture('sana-base/transformer'), '`_class_name`', 'SanaControlNetModel'],
        [fixture('sana-base'), 'config.json: is not there'],
      ] as const) {
        await assert.rejects(load(tinyModel, { controlnet }), sanaError('ERR_SANA_MODEL', ...parts));
        await assert.rejects(
          SanaPipeline.explain(tinyModel, 'x', { controlnet }),
          sanaError('ERR_SANA_MODEL', ...parts),
        );
      }
      const sprint = layOver('sana-sprint');
      const controlnet = fixture('sana-controlnet');
      await assert.rejects(load(sprint.path, { controlnet }), sanaError('ERR_SANA_MODEL', 'Sprint'));
      sprint.remove();
    });

    it('or rejected for its weights, or for an autoencoder that only decodes', async () => {
      using missing = new CheckpointCopy('sana-controlnet');
      await missing.changeTensors(weights, (tensors) => tensors.delete('controlnet_blocks.1.bias'));
      await assert.rejects(load(missing.path), sanaError('ERR_SANA_MODEL', '1 missing: controlnet_blocks.1.bias'));
      using poisoned = new CheckpointCopy('sana-controlnet');
      await poisoned.changeTensors(weights, (tensors) => {
        elementsOf(tensors, 'input_block.weight')[5] = Number.NaN;
      });
      await assert.rejects(load(poisoned.path), sanaError('ERR_SANA_MODEL', 'input_block.weight', '1 NaN'));
      using decoding = new CheckpointCopy('sana-controlnet');
      await decoding.changeTensors('vae/diffusion_pytorch_model.safetensors', (tensors) => {
        for (const name of tensors.keys()) if (name.startsWith('encoder.')) tensors.delete(name);
      });
      await assert.rejects(load(decoding.path), sanaError('ERR_SANA_MODEL', 'missing: encoder.'));
    });
  });

  it('profiles what it explains', async () => {
    const { stages } = await pipe.explain(steered);
    const planned = stages.reduce((sum, { runs, operators }) => sum + runs * operators.length, 0);
    const profile = await pipe.profile(steered);
    assert.equal(
      profile.reduce((sum, { operators }) => sum + operators.length, 0),
      planned,
    );
    const inControlNet = profile.flatMap(({ operators }) => operators).filter(({ scope }) => /^controlnet/.test(scope));
    assert.ok(inControlNet.length > 40, `${inControlNet.length} operators of the ControlNet`);
  });

  it('rejects an unreadable or missing picture before any work', async () => {
    let steps = 0;
    const onStep = () => void steps++;
    const refuse = async (image: unknown, error: ReturnType<typeof sanaError>) => {
      const request = { ...steered, onStep, controlImage: image } as GenerateRequest;
      await assert.rejects(pipe.generate(request), error);
      await assert.rejects(pipe.profile(request), error);
    };
    await refuse(undefined, sanaError('ERR_SANA_ARGUMENT', '`controlImage`', 'has a ControlNet'));
    await refuse(7, sanaError('ERR_SANA_ARGUMENT', '`controlImage`', 'got 7'));
    await refuse([null], sanaError('ERR_SANA_ARGUMENT', '`controlImage[0]`', 'got null'));
    await refuse([], sanaError('ERR_SANA_ARGUMENT', '`controlImage`', 'a list of 1 to 64'));
    await refuse('/nonexistent/edges.png', sanaError('ERR_SANA_FILE', '/nonexistent/edges.png'));
    await refuse(Buffer.from('no picture'), sanaError('ERR_SANA_FILE', '`controlImage`'));
    await refuse({ ...controlImage, width: 95 }, sanaError('ERR_SANA_ARGUMENT', '`controlImage.data.length`'));
    assert.equal(steps, 0);
    await using base = await loadTiny();
    const error = sanaError('ERR_SANA_ARGUMENT', '`controlImage`', 'no ControlNet');
    await assert.rejects(base.generate(steered), error);
    await assert.rejects(base.explain({ ...steered, controlImage: '/nonexistent/edges.png' }), error);
  });

  it('rejects with the reason if it is aborted, at any moment', async () => {
    const reason = new Error('changed my mind');
    const expected = await draw();
    for (const ms of [0, 2, 5, 10, 20, 40]) {
      const controller = new AbortController();
      const call = draw({ signal: controller.signal }).catch((error: unknown) => error);
      setTimeout(() => controller.abort(reason), ms);
      const outcome = await call;
      if (outcome !== reason) assert.deepEqual(outcome, expected); // it was done
    }
    assert.deepEqual(await draw(), expected);
  });

  describe('of other dimensions', () => {
    const folder = temporaryFolder();

    it('draws the same on another path of the CPU, except for rounding', async () => {
      const path = join(folder.path, 'random');
      const dimensions = { layers: 4, controlLayers: 2, heads: 7, crossHeads: 2, textHidden: 72 };
      await writeRandomCheckpoint(path, { ...(await tinyCheckpoint(dimensions)), variant: 'fp16', seed: 5 });
      const load = () => SanaPipeline.fromPretrained(path, { device: testDevice, dtype: 'float32' });
      await using random = await load();
      const request = { ...steered, width: 128, numInferenceSteps: 3 };
      const [image = assert.fail()] = (await random.generate(request)).images;
      const made = image.data;
      assert.ok(new Set(made).size > 20, 'a picture, and no flat colour');
      assert.notDeepEqual(
        await draw({ ...request, controlnetConditioningScale: 0 }, random),
        pictures({ images: [image] }),
      );
      const own = image.parameters.devicePath;
      for (const each of cpuPaths.filter((other) => other !== own && supportsCpuPath(other)).slice(0, 1)) {
        await using other = await onCpuPath(each, load);
        const [same] = (await other.generate(request)).images;
        const distances = made.map((byte, i) => Math.abs(byte - (same?.data[i] ?? 0)));
        assert.ok(Math.max(...distances) <= 1, each);
        assert.ok(distances.filter((d) => d > 0).length <= made.length / 100, each);
      }
    });
  });
});

/** Alone on the device: other pipelines' memory would count as theirs. */
describe('the memory of a ControlNet pipeline', () => {
  let laid: ReturnType<typeof layOver>;
  before(() => {
    laid = layOver('sana-controlnet');
  });
  after(() => laid.remove());
  const open = (options: LoadOptions = {}) => openTiny(laid.path, options);

  const several = { prompt: ['a fox', 'a lighthouse'], controlImage: [controlImage, controlImage] };
  const requests: readonly [string, Partial<GenerateRequest>][] = [
    ['latents of a large picture', { width: 512, height: 448, outputType: 'latent', numInferenceSteps: 1 }],
    ['a picture to start from', { image: controlImage, width: 320, height: 192 }],
    ['several pictures', { ...several, width: 256, height: 192, numImagesPerPrompt: 2, numInferenceSteps: 1 }],
  ];
  for (const offload of ['none', 'text-encoder', 'sequential'] as const) {
    for (const [what, changes] of requests) {
      if (offload === 'text-encoder' && what !== 'several pictures') continue; // half a second each
      it(`is predicted to the byte with offload '${offload}': ${what}`, async () => {
        const request = { ...steered, ...changes };
        await using pipe = await open({ offload });
        const { memory, stages } = await pipe.explain(request);
        const largest = stages.find(({ peakBytes }) => peakBytes === memory.peakBytes)?.name;
        if (request.outputType === 'latent') assert.equal(largest, 'control_encode');
        assert.equal((await pipe.generate(request)).memory.peakBytes, memory.peakBytes);
        const later = await pipe.generate(request);
        if (offload !== 'none') assert.ok(later.memory.peakBytes <= memory.peakBytes);
      });
    }
  }

  it('is given back', async () => {
    const device = watchDevice();
    const { bytes } = device;
    const other = await open();
    const explanation = await other.explain(steered);
    const { stages } = explanation;
    assert.deepEqual(
      await SanaPipeline.explain(laid.path, steered, { device: testDevice, dtype: 'float32' }),
      explanation,
    );
    const names = stages.map(({ name, runs }) => [name, runs]);
    assert.deepEqual(names, [
      ['instruction', 1],
      ['text_encode', 1],
      ['text_encode negative', 1],
      ['control_encode', 1],
      ['text_context', 1],
      ['denoise_step', 2],
      ['decode', 1],
    ]);
    await other.generate(steered);
    await other.dispose();
    assert.equal(device.bytes, bytes);
    await using sequential = await open({ offload: 'sequential' });
    await sequential.generate(steered);
    assert.ok(device.bytes - bytes <= 3 * 174 * 128 * 4, "no more than the instruction's keys and values");
    device.close();
  });

  it('that is short for encoding the picture is an error before the first step', async () => {
    const request = { ...steered, width: 512, height: 512, outputType: 'latent' } as const;
    await using pipe = await open();
    const { memory } = await pipe.explain(steered);
    const restore = limitMemory(memory.weightsBytes + 4e6);
    try {
      let steps = 0;
      const call = pipe.generate({ ...request, onStep: () => void steps++ });
      await assert.rejects(call, sanaError('ERR_SANA_MEMORY', 'autoencoder encode'));
      assert.equal(steps, 0);
    } finally {
      restore();
    }
  });
});

async function pngOf({ width, height, data }: RawImage): Promise<Buffer> {
  return await sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}
