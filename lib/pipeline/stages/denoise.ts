/** The denoising stage: from noise to latents, step by step. */

import { channelsLast, scaled } from '../../models/channel-order.ts';
import type { Denoiser, DenoiseShape } from '../../models/transformer.ts';
import { schedulerFor } from '../../schedulers/index.ts';
import { controlPictures } from '../control-pictures.ts';
import { decodeImage } from '../decode-image.ts';
import { keepKnown } from '../inpainting.ts';
import { inLatentOrder } from '../latent-order.ts';
import { TorchGenerator } from '../noise.ts';
import type { ModelName } from '../offload.ts';
import { Queue } from '../queue.ts';
import type { PicturesStage, Source } from './pictures.ts';
import type { Job, RunningJob, Stage, StageProgram } from './stage.ts';
import type { TextStage } from './text.ts';

/** Block 8 in the released models, the middle one in smaller models. */
function perturbedBlocks(layers: number): number[] {
  return [Math.min(8, Math.floor(layers / 2))];
}

export class DenoiseStage implements Stage {
  readonly name = 'denoise';
  readonly models: readonly ModelName[];
  readonly largeArena = false;
  /** What memory and programs depend on. */
  readonly shape: DenoiseShape;
  /** The results of `run`: latents [B, N, channels], and the milliseconds of each step. */
  latents: Float32Array = new Float32Array();
  readonly stepMs: number[] = [];
  readonly #job: Job;
  readonly #text: TextStage;
  readonly #pictures: PicturesStage | undefined;
  #denoiser: Denoiser | undefined;

  constructor(job: Job, text: TextStage, pictures: PicturesStage | undefined) {
    const { parts, request, tokens } = job;
    const { compression } = parts.autoencoder;
    // The perturbed part of a batch comes first; it has the same prompts as the conditional part.
    const perturbed = request.pagScale > 0 ? tokens.positive : [];
    const prompts = [...perturbed, ...tokens.negative, ...tokens.positive];
    this.#job = job;
    this.#text = text;
    this.#pictures = pictures;
    this.models = parts.controlnet === undefined ? ['transformer'] : ['transformer', 'controlnet'];
    this.shape = {
      images: request.batch,
      height: request.drawnHeight / compression,
      width: request.drawnWidth / compression,
      lengths: prompts.map(({ positions }) => positions.length),
      guidance: request.guided,
      perturbedBlocks: request.pagScale > 0 ? perturbedBlocks(parts.transformer.config.numLayers) : [],
      controlPictures: controlPictures(request),
    };
  }

  get leaves() {
    return { lastingBytes: 0, generationBytes: this.denoiser.stateBytes };
  }

  /** Recorded on first use, or reused from the previous call if the shape is the same. */
  get denoiser(): Denoiser {
    this.#denoiser ??= this.#job.parts.findDenoiser(this.shape);
    return this.#denoiser;
  }

  programs(): readonly StageProgram[] {
    const { parts, request } = this.#job;
    const { contextPlan, stepPlan, stateBytes } = this.denoiser;
    const merge = parts.transformer.explainMerge(request.loraScale ?? 1);
    return [
      ...(merge === undefined ? [] : [{ name: 'lora_merge', runs: 1, ...merge }]),
      { name: 'text_context', runs: 1, plan: contextPlan, stateBytes },
      { name: 'denoise_step', runs: request.numInferenceSteps - request.firstStep, plan: stepPlan, stateBytes },
    ];
  }

  async run(job: RunningJob): Promise<void> {
    const { parts, request, started } = job;
    const { transformer, controlnet, checkpoint } = parts;
    const { signal, numInferenceSteps, firstStep, onStep } = request;
    const { denoiser, shape } = this;
    const { source, control } = this.#pictures ?? {};
    const order = inLatentOrder(shape, transformer.config.inChannels);
    await transformer.prepare(request.loraScale ?? 1, signal);
    await controlnet?.load(signal);
    const schedule = schedulerFor(checkpoint.scheduler, request.scheduler, request)(numInferenceSteps);
    const noise = this.#noise();
    const start = request.latents === undefined ? await noise() : order.channelsLast(request.latents);
    const first =
      source === undefined ? scaled(start, schedule.startScale) : noised(source, start, schedule.mix(firstStep));
    const { embeds } = this.#text;
    const perturbed = request.pagScale > 0 ? embeds.slice(job.tokens.negative.length) : [];
    await denoiser.start(first, [...perturbed, ...embeds], request.guidanceScale, control, signal);
    for (let step = firstStep; step < numInferenceSteps; step++) {
      const timestep = schedule.timesteps[step] ?? 0;
      // The reference's ControlNet pipeline passes the unscaled timestep to both models.
      const scale = schedule.renoises || control !== undefined ? 1 : transformer.config.timestepScale;
      if (schedule.renoises && step + 1 < numInferenceSteps) await denoiser.renoise(await noise());
      const before = performance.now();
      const coefficients = schedule.coefficients(step, firstStep);
      await denoiser.step(step, scale * timestep, request, coefficients, signal);
      if (source?.mask !== undefined) {
        const latents = await denoiser.latents();
        keepKnown(latents, source.latents, start, source.mask, schedule.mix(step + 1));
        await denoiser.setLatents(latents);
      }
      this.stepMs.push(performance.now() - before);
      if (onStep !== undefined) {
        // One at a time, and never during the next step or after the call, even if they are not awaited.
        const work = new Queue('The step is over', 'Await latents() and preview() inside onStep.');
        try {
          await onStep({
            step: step + 1 - firstStep,
            totalSteps: numInferenceSteps - firstStep,
            timestep,
            sigma: schedule.sigmas[step] ?? 0,
            elapsedMs: performance.now() - started,
            latents: () => work.run(async () => order.channelsFirst(await denoiser.latents())),
            // The first image, if the current estimate of its clean latents were exact.
            preview: () =>
              work.run(async () => await decodeImage(job, await denoiser.latents('clean'), 0, shape, source)),
          });
        } finally {
          await work.run(async () => {});
          await work.close();
        }
      }
      signal?.throwIfAborted();
    }
    this.latents = await denoiser.latents();
  }

  release(): void {
    this.#job.parts.releaseDenoiser();
  }

  /** Noise for a batch, [B, N, channels], new in each call: that of torch's generators with the images' seeds. */
  #noise(): () => Promise<Float32Array> {
    const { request, parts } = this.#job;
    const { images, height, width } = this.shape;
    const channels = parts.transformer.config.inChannels;
    const pixels = height * width;
    const generators = request.seeds.map((seed) => new TorchGenerator(seed));
    return async () => {
      const noise = new Float32Array(images * channels * pixels);
      for (const [i, generator] of generators.entries()) {
        const one = await generator.draw(channels * pixels, request.signal);
        noise.set(channelsLast(one, 1, channels, pixels), i * channels * pixels);
      }
      return noise;
    };
  }
}

/** The latents of a picture at a level of noise, [images, pixels, channels]. */
function noised(source: Source, noise: Float32Array, mix: { clean: number; noise: number }): Float32Array {
  const { latents } = source;
  return noise.map((value, i) => mix.clean * (latents[i % latents.length] ?? 0) + mix.noise * value);
}
