/** One request carried out: text, pictures, steps and decoding, in that order. */

import { SanaError } from '../base/errors.ts';
import { SanaImage } from '../image/image.ts';
import { channelsFirst, channelsLast, scaled } from '../models/channel-order.ts';
import type { PromptEmbeds } from '../models/prompt-embeds.ts';
import type { Denoiser, DenoiseShape } from '../models/transformer.ts';
import type { CheckedRequest } from '../request/request.ts';
import type { TensorLike } from '../request/types.ts';
import { schedulerFor } from '../schedulers/index.ts';
import type { Tokenizer } from '../text/tokenizer.ts';
import { controlImageOf, controlPictures } from './control-pictures.ts';
import { composite, keepKnown } from './inpainting.ts';
import { TorchGenerator } from './noise.ts';
import { type CommonParameters, sha256 } from './parameters.ts';
import type { Parts } from './parts.ts';
import { type EncodedPictures, encodePictures, type Source } from './picture-encoder.ts';
import { tokenize } from './prompts.ts';
import { Queue } from './queue.ts';
import type { GenerateResult, StepInfo } from './results.ts';

/** Of the released models, block 8; of smaller ones, the one in the middle. */
function perturbedBlocks(layers: number): number[] {
  return [Math.min(8, Math.floor(layers / 2))];
}

/** What the memory and programs of a request depend on, with the tokens of each prompt. */
export function shapeOf(parts: Parts, request: CheckedRequest, lengths: readonly number[]): DenoiseShape {
  const { compression } = parts.autoencoder;
  return {
    images: request.batch,
    height: request.drawnHeight / compression,
    width: request.drawnWidth / compression,
    lengths,
    guidance: request.guided,
    perturbedBlocks: request.pagScale > 0 ? perturbedBlocks(parts.transformer.config.numLayers) : [],
    controlPictures: controlPictures(request),
  };
}

/** Only now: the adapters may have been loaded by a call that the request waited for. */
export function checkLoraScale({ transformer }: Parts, { loraScale }: CheckedRequest): void {
  if (loraScale === undefined || transformer.adapters.length > 0) return;
  throw new SanaError('ERR_SANA_ARGUMENT', '`loraScale` cannot be used here: no LoRA adapter is loaded', {
    hint: 'Load one with loadLora, or leave `loraScale` out.',
  });
}

export class Generation {
  readonly #parts: Parts;
  readonly #tokenizer: Tokenizer;
  readonly #request: CheckedRequest<StepInfo>;
  readonly #parameters: CommonParameters;
  readonly #started = performance.now();

  constructor(parts: Parts, tokenizer: Tokenizer, request: CheckedRequest<StepInfo>, parameters: CommonParameters) {
    this.#parts = parts;
    this.#tokenizer = tokenizer;
    this.#request = request;
    this.#parameters = parameters;
  }

  async run(): Promise<GenerateResult> {
    const parts = this.#parts;
    const request = this.#request;
    const started = this.#started;
    const { signal } = request;
    checkLoraScale(parts, request);
    const { device } = parts.engine;
    device.resetPeak();

    const tokens = await tokenize(this.#tokenizer, request);
    signal?.throwIfAborted();
    const encodings = await parts.textEncoder.encode([...tokens.negative, ...tokens.positive], signal);
    if (parts.offload !== 'none') parts.textEncoder.release();
    const encoded = performance.now();
    const { source, control } = await encodePictures(parts, request);
    const sourced = performance.now();

    // The perturbed part of a batch comes first, and reads what the guided one reads.
    const perturbed = request.pagScale > 0 ? encodings.slice(tokens.negative.length) : [];
    const embeds = [...perturbed, ...encodings];
    const shape = shapeOf(
      parts,
      request,
      embeds.map((prompt) => prompt.tokens),
    );
    const denoiser = parts.denoiserFor(shape);
    this.#demandMemory(denoiser);
    const stepMs = await this.#denoise(denoiser, embeds, { source, control });
    const latents = await denoiser.latents();
    const denoised = performance.now();
    if (parts.offload === 'sequential') {
      parts.releaseDenoiser();
      parts.transformer.dispose();
      parts.controlnet?.dispose();
    }

    const images: SanaImage[] = [];
    if (request.outputType === 'image') {
      for (let i = 0; i < request.batch; i++) {
        images.push(await this.#decode(latents, i, shape, source));
      }
    }
    const finished = performance.now();
    return {
      images,
      ...(request.outputType === 'latent' && { latents: this.#firstLayout(latents, shape) }),
      seeds: request.seeds,
      timings: {
        textMs: encoded - started,
        imageMs: source === undefined && control === undefined ? 0 : sourced - encoded,
        denoiseMs: denoised - sourced,
        stepMs,
        decodeMs: request.outputType === 'image' ? finished - denoised : 0,
        totalMs: finished - started,
      },
      memory: { peakBytes: device.memory().peakBytes },
    };
  }

  #demandMemory(denoiser: Denoiser): void {
    const { autoencoder, engine, offload } = this.#parts;
    const request = this.#request;
    const { height, width } = denoiser.shape;
    // What is allocated until then and kept: all weights are there already, or only the decoder's will be.
    const kept = offload === 'sequential' ? autoencoder.decoderBytes : denoiser.unallocatedBytes;
    const spareBytes = engine.spareBytes - kept;
    const tiling = this.#parts.tiling(request.decodeTiling);
    const pictures = autoencoder.planDecode(height, width, request, spareBytes, tiling);
    const plans = [denoiser.contextPlan, denoiser.stepPlan, ...pictures.map(({ plan }) => plan)];
    const arenaBytes = Math.max(...plans.map((plan) => plan.arenaBytes));
    const growth = arenaBytes > engine.arena.bytes ? arenaBytes - engine.arena.bytes : 0;
    // The CPU computes in the memory that the pictures are handed over in.
    const inHostMemory = engine.device.info.backend === 'cpu' && request.outputType === 'image';
    const pictureBytes = inHostMemory ? request.batch * request.width * request.height * 3 : 0;
    engine.demandMemory(
      growth + denoiser.unallocatedBytes + Math.max(...pictures.map(({ stateBytes }) => stateBytes)) + pictureBytes,
      `Drawing ${request.batch} image(s) of ${request.drawnWidth} x ${request.drawnHeight}`,
      'Ask for a smaller size or fewer images at once, or free memory.',
    );
  }

  /** All steps; the time of each. */
  async #denoise(
    denoiser: Denoiser,
    embeds: readonly PromptEmbeds[],
    { source, control }: EncodedPictures,
  ): Promise<number[]> {
    const { transformer, controlnet, checkpoint } = this.#parts;
    const request = this.#request;
    const { signal, numInferenceSteps, firstStep, onStep } = request;
    const { shape } = denoiser;
    await transformer.prepare(request.loraScale ?? 1, signal);
    await controlnet?.load(signal);
    const schedule = schedulerFor(checkpoint.scheduler, request.scheduler, request)(numInferenceSteps);
    const noise = this.#noise(shape);
    const start = request.latents === undefined ? await noise() : this.#lastLayout(request.latents, shape);
    const first =
      source === undefined ? scaled(start, schedule.startScale) : noised(source, start, schedule.mix(firstStep));
    await denoiser.start(first, embeds, request.guidanceScale, control, signal);
    const stepMs: number[] = [];
    for (let step = firstStep; step < numInferenceSteps; step++) {
      const timestep = schedule.timesteps[step] ?? 0;
      // The reference's ControlNet pipeline gives both models the timestep as it is.
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
      stepMs.push(performance.now() - before);
      if (onStep !== undefined) {
        // One at a time, and none beside the next step or after the call, awaited or not.
        const work = new Queue('The step is over', 'Await latents() and preview() inside onStep.');
        try {
          await onStep({
            step: step + 1 - firstStep,
            totalSteps: numInferenceSteps - firstStep,
            timestep,
            sigma: schedule.sigmas[step] ?? 0,
            elapsedMs: performance.now() - this.#started,
            latents: () => work.run(async () => this.#firstLayout(await denoiser.latents(), shape)),
            preview: () => work.run(() => this.#preview(denoiser, source)),
          });
        } finally {
          await work.run(async () => {});
          await work.close();
        }
      }
      signal?.throwIfAborted();
    }
    return stepMs;
  }

  /** What the first image would be if its estimate of the clean latents were right. */
  async #preview(denoiser: Denoiser, source: Source | undefined): Promise<SanaImage> {
    const clean = await denoiser.latents('clean');
    return await this.#decode(clean, 0, denoiser.shape, source);
  }

  /** Noise for a batch, [B, N, channels], new at each call: what torch's generators with the images' seeds give. */
  #noise({ images, height, width }: DenoiseShape): () => Promise<Float32Array> {
    const { seeds, signal } = this.#request;
    const channels = this.#parts.transformer.config.inChannels;
    const pixels = height * width;
    const generators = seeds.map((seed) => new TorchGenerator(seed));
    return async () => {
      const noise = new Float32Array(images * channels * pixels);
      for (const [i, generator] of generators.entries()) {
        const one = await generator.draw(channels * pixels, signal);
        noise.set(channelsLast(one, 1, channels, pixels), i * channels * pixels);
      }
      return noise;
    };
  }

  #lastLayout({ data }: TensorLike, { images, height, width }: DenoiseShape): Float32Array {
    return channelsLast(data, images, this.#parts.transformer.config.inChannels, height * width);
  }

  #firstLayout(latents: Float32Array, { images, height, width }: DenoiseShape): TensorLike {
    const channels = this.#parts.transformer.config.inChannels;
    const data = channelsFirst(latents, images, channels, height * width);
    return { data, shape: [images, channels, height, width] };
  }

  /** Image `index` of a batch of latents. */
  async #decode(
    latents: Float32Array, // [B, N, channels]
    index: number,
    { height, width }: DenoiseShape,
    source: Source | undefined,
  ): Promise<SanaImage> {
    const { transformer, autoencoder } = this.#parts;
    const request = this.#request;
    const elements = height * width * transformer.config.inChannels;
    const own = latents.subarray(index * elements, (index + 1) * elements);
    const options = { tiling: this.#parts.tiling(request.decodeTiling), signal: request.signal };
    const data = await autoencoder.decodeRgb(own, height, width, request, options);
    const prompt = Math.floor(index / request.numImagesPerPrompt);
    const { maskPicture, picture } = source ?? {};
    const controlImage = controlImageOf(request, index);
    const whole = maskPicture === undefined || picture === undefined ? data : composite(data, picture, maskPicture);
    return new SanaImage(
      { width: request.width, height: request.height, data: whole },
      {
        ...this.#parameters,
        prompt: request.prompts[prompt] ?? '',
        negativePrompt: request.negativePrompts[prompt] ?? '',
        seed: String(request.seeds[index]),
        ...(controlImage !== undefined && { controlImageSha256: sha256(controlImage.data) }),
      },
    );
  }
}

/** The latents of a picture at a level of noise, [images, pixels, channels]. */
function noised(source: Source, noise: Float32Array, mix: { clean: number; noise: number }): Float32Array {
  const { latents } = source;
  return noise.map((value, i) => mix.clean * (latents[i % latents.length] ?? 0) + mix.noise * value);
}
