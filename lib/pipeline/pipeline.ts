/** `SanaPipeline`: a prompt to a picture. */

import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import { argumentError, SanaError } from '../errors.ts';
import { repositoryOfSnapshot } from '../hub/repository.ts';
import { SanaImage } from '../image/image.ts';
import { readImage } from '../image/input.ts';
import { BUILT_IN_MODEL } from '../runtime/built-in.ts';
import { type Checkpoint, openCheckpoint } from '../runtime/checkpoint.ts';
import { defaultDtype, openDevice } from '../runtime/devices.ts';
import { wasTrainedInFp16 } from '../runtime/fp16.ts';
import type { Vocabulary } from '../runtime/vocabulary.ts';
import { schedulerFor } from '../schedulers/index.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { version } from '../version.ts';
import { Autoencoder } from './autoencoder.ts';
import { type ComputeDtype, Engine, formatBytes } from './engine.ts';
import { explain } from './explain.ts';
import { checkChoice } from './fields.ts';
import { fingerprint } from './fingerprint.ts';
import { composite, keepKnown, latentMask } from './inpainting.ts';
import { channelsFirst, channelsLast } from './layout.ts';
import { type CheckedLoadOptions, checkLoadOptions } from './load-options.ts';
import { locateModel } from './model-source.ts';
import { TorchGenerator } from './noise.ts';
import { padded, tokenize } from './prompts.ts';
import { Queue } from './queue.ts';
import { type CheckedRequest, checkRequest, DECODE_TILINGS, type ModelTraits } from './request.ts';
import { binResolution } from './resolution.ts';
import { atDrawnSize, covering, hasPictures, readPictures, toTensor } from './source-image.ts';
import { type PromptEmbeds, TextEncoder } from './text-encoder.ts';
import { referenceTiling, type Tiling } from './tiling.ts';
import { type Denoiser, type DenoiseShape, Transformer } from './transformer.ts';
import type {
  DecodeTiling,
  DTypeName,
  Explanation,
  GenerateRequest,
  GenerateResult,
  GenerationParameters,
  ImageInput,
  LoadOptions,
  ProfiledStage,
  RawImage,
  TensorLike,
} from './types.ts';

/** What `explain` takes where no prompt is given: its length is all that counts. */
const explainedPrompt = 'a red fox in snow';

/** The samplers that can drive a model, by the class of its own. */
const SCHEDULERS_OF = {
  DPMSolverMultistepScheduler: ['flow-dpm-solver', 'flow-euler'],
  FlowMatchEulerDiscreteScheduler: ['flow-euler', 'flow-dpm-solver'],
  SCMScheduler: ['scm'],
} as const;

/** Of the released models, block 8; of smaller ones, the one in the middle. */
function perturbedBlocks(layers: number): number[] {
  return [Math.min(8, Math.floor(layers / 2))];
}

/** Sizes of latents (pixels / 32) for which there is a table of resolutions. */
const binnedSampleSizes = [16, 32, 64, 128];

/**
 * A loaded SANA model. Calls to `generate` that overlap run one after another.
 *
 * @example
 * await using pipe = await SanaPipeline.fromPretrained('path/to/Sana_600M_512px_diffusers');
 * const { images } = await pipe.generate({ prompt: 'a red fox in snow', seed: 7 });
 * await images[0].save('fox.png');
 */
export class SanaPipeline {
  readonly #engine: Engine;
  readonly #checkpoint: Checkpoint;
  readonly #dtype: ComputeDtype;
  readonly #offload: CheckedLoadOptions['offload'];
  /** Loading beside the weights, in a thread of its own; there once `fromPretrained` has resolved. */
  #tokenizing: Promise<Tokenizer> | undefined;
  #tokenizer: Tokenizer | undefined;
  /** Ends what is still loading. */
  readonly #stop = new AbortController();
  readonly #textEncoder: TextEncoder;
  readonly #transformer: Transformer;
  readonly #autoencoder: Autoencoder;
  readonly #queue = new Queue('The pipeline has been disposed of', 'Load it again with SanaPipeline.fromPretrained.');
  #denoiser: Denoiser | undefined;
  #fingerprint: string | undefined;
  #disposed: Promise<void> | undefined;

  private constructor(
    engine: Engine,
    checkpoint: Checkpoint,
    dtype: ComputeDtype,
    offload: CheckedLoadOptions['offload'],
    trainedInFp16: boolean,
  ) {
    this.#engine = engine;
    this.#checkpoint = checkpoint;
    this.#dtype = dtype;
    this.#offload = offload;
    // Gemma-2 and DC-AE leave the range of f16, as the released models' own instructions have it: bf16 for them.
    const others = dtype === 'f16' ? 'bf16' : dtype;
    this.#textEncoder = new TextEncoder(engine, checkpoint.textEncoder, others);
    this.#transformer = new Transformer(engine, checkpoint.transformer, dtype, trainedInFp16);
    this.#autoencoder = new Autoencoder(engine, checkpoint.vae, others);
  }

  /**
   * Opens a checkpoint folder in the diffusers layout, checks all of it, and loads its weights. `owner/name`, where
   * there is no folder of that name, is a hub repository: the files that are needed are downloaded into the cache that
   * Python uses too, unless they are there. `'sana-tiny'`, the default, is the small model that is part of this package.
   *
   * @throws SanaError ERR_SANA_ARGUMENT for wrong options, ERR_SANA_MODEL for a folder or file that cannot be used,
   *   ERR_SANA_DEVICE for a device that is not there, ERR_SANA_MEMORY when the weights do not fit, ERR_SANA_DOWNLOAD
   *   and ERR_SANA_INTEGRITY for a download that fails.
   */
  static async fromPretrained(model: string = BUILT_IN_MODEL, options: LoadOptions = {}): Promise<SanaPipeline> {
    const checked = checkLoadOptions(options);
    const pipeline = await SanaPipeline.#open(model, checked);
    // Whichever fails stops the other, and both are over before anything is given back.
    const signal = either(pipeline.#stop.signal, checked.signal);
    const parts = [pipeline.#ready(), pipeline.#load({ ...checked, signal })];
    for (const part of parts) part.catch((error) => pipeline.#stop.abort(error));
    await Promise.allSettled(parts);
    if (!signal.aborted) return pipeline;
    await pipeline.dispose();
    throw signal.reason;
  }

  /**
   * What a request would run on a model, without loading its weights: see `explain`.
   *
   * @throws SanaError as `fromPretrained` does, but for memory.
   */
  static async explain(
    model: string,
    request: string | GenerateRequest = explainedPrompt,
    options: LoadOptions = {},
  ): Promise<Explanation> {
    const pipeline = await SanaPipeline.#open(model, checkLoadOptions(options));
    try {
      await pipeline.#ready();
      return await pipeline.explain(request);
    } finally {
      await pipeline.dispose();
    }
  }

  /** Everything but the weights. */
  static async #open(model: string, options: CheckedLoadOptions): Promise<SanaPipeline> {
    if (typeof model !== 'string' || model === '') {
      throw argumentError('model', `the path of a checkpoint folder, a repository id, or '${BUILT_IN_MODEL}'`, model);
    }
    const { variant, signal, onProgress, offload } = options;
    signal?.throwIfAborted();
    const folder = await locateModel(model, options);
    onProgress?.({ phase: 'open', loadedBytes: 0, totalBytes: 0 });
    const checkpoint = await openCheckpoint(folder, variant === null ? {} : { variant });
    let engine: Engine | undefined;
    try {
      if (checkpoint.className === 'SanaControlNetPipeline') {
        throw new SanaError(
          'ERR_SANA_MODEL',
          `${model} is a ${checkpoint.className}, which this version does not run`,
          {
            hint: 'Use a text-to-image checkpoint: SANA 1.0, 1.5 or Sprint.',
          },
        );
      }
      engine = new Engine(openDevice(options.device, options.threads === 0 ? undefined : options.threads));
      const dtype = computeDtype(options.dtype, engine);
      const trainedInFp16 = await wasTrainedInFp16(checkpoint.transformer);
      const pipeline = new SanaPipeline(engine, checkpoint, dtype, offload, trainedInFp16);
      pipeline.#check();
      pipeline.#tokenizing = Tokenizer.load(checkpoint.tokenizerFolder, {
        signal: either(pipeline.#stop.signal, signal),
      });
      return pipeline;
    } catch (error) {
      engine?.dispose();
      checkpoint.close();
      throw error;
    }
  }

  /** What the model can be asked to draw, where it knows but a few things and its checkpoint lists them. */
  get vocabulary(): Vocabulary | undefined {
    return this.#checkpoint.vocabulary;
  }

  /** The tokenizer: text to the ids that the text encoder sees, the beginning-of-sequence token included. */
  get tokenizer(): { encode(text: string): { ids: number[] } } {
    return this.#loadedTokenizer;
  }

  /** The text encoder alone. */
  readonly textEncoder = {
    /**
     * Embeddings of prompts: real tokens only, zero-padded to the longest. `embeds` [B, n, C], `mask` [B, n].
     */
    encode: async (request: {
      prompt: string | readonly string[];
      complexHumanInstruction?: readonly string[] | null;
      maxSequenceLength?: number;
      signal?: AbortSignal;
    }): Promise<{ embeds: TensorLike; mask: TensorLike }> => {
      const checked = checkRequest(request, this.#traits);
      return await this.#run(async () => {
        const { positive } = await tokenize(this.#loadedTokenizer, { ...checked, guided: false });
        return padded(await this.#textEncoder.encode(positive, checked.signal));
      }, checked.signal);
    },
  };

  /** The transformer alone: one forward, the predicted velocity. See `Transformer.forward`. */
  readonly transformer = {
    forward: (inputs: Parameters<Transformer['forward']>[0]): Promise<TensorLike> =>
      this.#run(() => this.#transformer.forward(inputs), inputs.signal),
  };

  /** The autoencoder alone. */
  readonly autoencoder = {
    /** z = latents / scalingFactor, [B, 32, h, w] -> [B, 3, 32h, 32w] in about [-1, 1], not clamped. */
    decode: (z: TensorLike, options: { tiling?: DecodeTiling; signal?: AbortSignal } = {}): Promise<TensorLike> =>
      this.#run(() => this.#autoencoder.decode(z, this.#tilingOptions(options)), options.signal),
    /** A picture, or [B, 3, H, W] in [-1, 1] -> z before scaling, [B, 32, H/32, W/32]. */
    encode: (
      image: ImageInput | TensorLike,
      options: { tiling?: DecodeTiling; signal?: AbortSignal } = {},
    ): Promise<TensorLike> =>
      this.#run(
        async () => await this.#autoencoder.encode(await asTensor(image), this.#tilingOptions(options)),
        options.signal,
      ),
  };

  /**
   * Draws pictures.
   *
   * @throws SanaError ERR_SANA_ARGUMENT before any work, ERR_SANA_MEMORY before the first step when it does not fit,
   *   ERR_SANA_NUMERICS at the first NaN or infinity; `signal.reason` when aborted.
   */
  async generate(request: string | GenerateRequest): Promise<GenerateResult> {
    return await this.#request(request, (checked) => this.#generate(checked));
  }

  /**
   * What a request would run, without running it: operators, FLOPs, bytes and memory of every stage. Memory is that of
   * a first call; later ones with offload 'none' find the intermediates' memory of the calls before, and keep it.
   */
  async explain(request: string | GenerateRequest = explainedPrompt): Promise<Explanation> {
    return await this.#request(request, (checked) => this.#explain(checked));
  }

  /** Runs a request and gives every program that ran, in order, with the time of each operator. */
  async profile(request: string | GenerateRequest): Promise<ProfiledStage[]> {
    return await this.#request(request, (checked) => this.#engine.profile(() => this.#generate(checked)));
  }

  /** Waits for the running call, rejects those that wait, and gives all memory back. May be called twice. */
  async dispose(): Promise<void> {
    this.#disposed ??= this.#queue.close().then(() => {
      this.#releaseDenoiser();
      this.#textEncoder.dispose();
      this.#transformer.dispose();
      this.#autoencoder.dispose();
      this.#tokenizer?.dispose();
      this.#engine.dispose();
      this.#checkpoint.close();
    });
    await this.#disposed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /**
   * Carries a request out after those before it. It takes its place at once; its pictures are read at once, too, so
   * that what happens to their files while it waits makes no difference, and what is wrong is said before its turn.
   */
  async #request<T>(request: string | GenerateRequest, body: (checked: CheckedRequest) => Promise<T>): Promise<T> {
    if (!hasPictures(request)) {
      const checked = checkRequest(request, this.#traits);
      return await this.#run(() => body(checked), checked.signal);
    }
    const checking = readPictures(request).then((read) => checkRequest(read, this.#traits));
    const signal = request.signal instanceof AbortSignal ? request.signal : undefined;
    const running = this.#run(async () => await body(await checking), signal);
    const [, result] = await Promise.all([checking, running]);
    return result;
  }

  /** Runs a call after those before it, and gives back what `offload` does not keep, however it ends. */
  async #run<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return await this.#queue.run(async () => {
      try {
        return await call();
      } finally {
        this.#offloadAll();
      }
    }, signal);
  }

  /** With the intermediates' memory, too: the next call needs the same as the first, which is what `explain` says. */
  #offloadAll(): void {
    if (this.#offload === 'none') return;
    this.#textEncoder.release();
    this.#releaseDenoiser();
    this.#engine.arena.dispose();
    if (this.#offload === 'text-encoder') return;
    this.#transformer.dispose();
    this.#autoencoder.dispose();
  }

  /** Are the tensors in the files those of the configurations? Finds out now what loading would find out later. */
  #check(): void {
    for (const model of [this.#textEncoder, this.#transformer, this.#autoencoder]) model.check();
  }

  get #traits(): ModelTraits {
    const { transformer, textEncoder, scheduler } = this.#checkpoint;
    const { sampleSize } = transformer.config;
    return {
      kind: this.#checkpoint.className === 'SanaSprintPipeline' ? 'sprint' : 'sana',
      nativeSize: sampleSize * this.#autoencoder.compression,
      latentChannels: transformer.config.inChannels,
      maxTextPositions: textEncoder.config.maxPositionEmbeddings,
      defaults: this.#checkpoint.generation,
      schedulers: SCHEDULERS_OF[scheduler.className],
      ...(binnedSampleSizes.includes(sampleSize) && {
        bin: ({ width, height }: { width: number; height: number }) => binResolution(sampleSize, height, width),
      }),
    };
  }

  get #loadedTokenizer(): Tokenizer {
    if (this.#tokenizer === undefined) throw new Error('#ready() comes first');
    return this.#tokenizer;
  }

  async #ready(): Promise<void> {
    this.#tokenizer = await this.#tokenizing;
  }

  async #load({ signal, onProgress }: CheckedLoadOptions): Promise<void> {
    const parts = [
      { name: 'text_encoder', model: this.#textEncoder, bytes: this.#textEncoder.weightBytes },
      { name: 'transformer', model: this.#transformer, bytes: this.#transformer.weightBytes },
      { name: 'vae', model: this.#autoencoder, bytes: this.#autoencoder.decoderBytes },
    ];
    const resident = this.#offload === 'none' ? parts : this.#offload === 'text-encoder' ? parts.slice(1) : [];
    this.#engine.demandMemory(
      this.#offload === 'sequential'
        ? Math.max(...parts.map(({ bytes }) => bytes))
        : resident.reduce((sum, { bytes }) => sum + bytes, 0),
      `Loading the weights (${parts.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(', ')})`,
      "Free memory, use dtype 'bfloat16', offload: 'text-encoder' or 'sequential', or a smaller model.",
    );
    const totalBytes = resident.reduce((sum, { bytes }) => sum + bytes, 0);
    let before = 0;
    for (const { name, model, bytes } of resident) {
      await model.load(signal, ({ loaded, total }) => {
        onProgress?.({ phase: 'load', component: name, loadedBytes: before + (loaded / total) * bytes, totalBytes });
      });
      before += bytes;
    }
    onProgress?.({ phase: 'ready', loadedBytes: totalBytes, totalBytes });
  }

  #shapeOf(request: CheckedRequest, lengths: readonly number[]): DenoiseShape {
    const { compression } = this.#autoencoder;
    return {
      images: request.batch,
      height: request.drawnHeight / compression,
      width: request.drawnWidth / compression,
      lengths,
      guidance: request.guided,
      perturbedBlocks: request.pagScale > 0 ? perturbedBlocks(this.#transformer.config.numLayers) : [],
    };
  }

  async #generate(request: CheckedRequest): Promise<GenerateResult> {
    const { signal } = request;
    const started = performance.now();
    const { device } = this.#engine;
    device.resetPeak();

    const tokens = await tokenize(this.#loadedTokenizer, request);
    signal?.throwIfAborted();
    const source = await this.#encodeSource(request);
    const sourced = performance.now();
    const encodings = await this.#textEncoder.encode([...tokens.negative, ...tokens.positive], signal);
    if (this.#offload !== 'none') this.#textEncoder.release();
    const encoded = performance.now();

    // The perturbed part of a batch comes first, and reads what the guided one reads.
    const perturbed = request.pagScale > 0 ? encodings.slice(tokens.negative.length) : [];
    const embeds = [...perturbed, ...encodings];
    const shape = this.#shapeOf(
      request,
      embeds.map((prompt) => prompt.tokens),
    );
    const denoiser = this.#denoiserFor(shape);
    this.#demandMemoryFor(denoiser, request);
    const stepMs = await this.#denoise(denoiser, request, embeds, source, started);
    const latents = await denoiser.latents();
    const denoised = performance.now();
    if (this.#offload === 'sequential') {
      this.#releaseDenoiser();
      this.#transformer.dispose();
    }

    const images: SanaImage[] = [];
    if (request.outputType === 'image') {
      const common = await this.#parameters(request);
      for (let i = 0; i < request.batch; i++) {
        images.push(await this.#decode(latents, i, shape, request, common, source));
      }
    }
    const finished = performance.now();
    return {
      images,
      ...(request.outputType === 'latent' && { latents: this.#firstLayout(latents, shape) }),
      seeds: request.seeds,
      timings: {
        imageMs: request.image === undefined ? 0 : sourced - started,
        textMs: encoded - (request.image === undefined ? started : sourced),
        denoiseMs: denoised - encoded,
        stepMs,
        decodeMs: request.outputType === 'image' ? finished - denoised : 0,
        totalMs: finished - started,
      },
      memory: { peakBytes: device.memory().peakBytes },
    };
  }

  /** The denoiser of the last call when it fits, since most calls look like the one before. */
  #denoiserFor(shape: DenoiseShape): Denoiser {
    if (this.#denoiser !== undefined && JSON.stringify(this.#denoiser.shape) === JSON.stringify(shape)) {
      return this.#denoiser;
    }
    this.#releaseDenoiser();
    this.#denoiser = this.#transformer.denoiser(shape);
    return this.#denoiser;
  }

  #releaseDenoiser(): void {
    this.#denoiser?.dispose();
    this.#denoiser = undefined;
  }

  #demandMemoryFor(denoiser: Denoiser, request: CheckedRequest): void {
    const { height, width } = denoiser.shape;
    // What is allocated until then and kept: all weights are there already, or only the decoder's will be.
    const kept = this.#offload === 'sequential' ? this.#autoencoder.decoderBytes : denoiser.unallocatedBytes;
    const spareBytes = this.#engine.spareBytes - kept;
    const tiling = this.#tiling(request.decodeTiling);
    const pictures = this.#autoencoder.planDecode(height, width, request, spareBytes, tiling);
    const plans = [denoiser.contextPlan, denoiser.stepPlan, ...pictures.map(({ plan }) => plan)];
    const arenaBytes = Math.max(...plans.map((plan) => plan.arenaBytes));
    const growth = arenaBytes > this.#engine.arena.bytes ? arenaBytes - this.#engine.arena.bytes : 0;
    // The CPU computes in the memory that the pictures are handed over in.
    const inHostMemory = this.#engine.device.info.backend === 'cpu' && request.outputType === 'image';
    const pictureBytes = inHostMemory ? request.batch * request.width * request.height * 3 : 0;
    this.#engine.demandMemory(
      growth + denoiser.unallocatedBytes + Math.max(...pictures.map(({ stateBytes }) => stateBytes)) + pictureBytes,
      `Drawing ${request.batch} image(s) of ${request.drawnWidth} x ${request.drawnHeight}`,
      'Ask for a smaller size or fewer images at once, or free memory.',
    );
  }

  async #denoise(
    denoiser: Denoiser,
    request: CheckedRequest,
    embeds: readonly PromptEmbeds[],
    source: Source | undefined,
    started: number,
  ): Promise<number[]> {
    const { signal, numInferenceSteps, firstStep, onStep } = request;
    const { shape } = denoiser;
    await this.#transformer.load(signal);
    const schedule = schedulerFor(this.#checkpoint.scheduler, request.scheduler, request.timesteps)(numInferenceSteps);
    const noise = this.#noise(request, shape);
    const start = request.latents === undefined ? await noise() : this.#lastLayout(request.latents, shape);
    const first =
      source === undefined ? scaled(start, schedule.startScale) : noised(source, start, schedule.mix(firstStep));
    await denoiser.start(first, embeds, request.guidanceScale, signal);
    const stepMs: number[] = [];
    for (let step = firstStep; step < numInferenceSteps; step++) {
      const timestep = schedule.timesteps[step] ?? 0;
      const scale = schedule.renoises ? 1 : this.#transformer.config.timestepScale;
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
            elapsedMs: performance.now() - started,
            latents: () => work.run(async () => this.#firstLayout(await denoiser.latents(), shape)),
            preview: () => work.run(() => this.#preview(denoiser, request, source)),
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
  async #preview(denoiser: Denoiser, request: CheckedRequest, source: Source | undefined): Promise<SanaImage> {
    const clean = await denoiser.latents('clean');
    return await this.#decode(clean, 0, denoiser.shape, request, await this.#parameters(request), source);
  }

  /** The picture to start from, as latents, and its mask; the encoder leaves with what `offload` does not keep. */
  async #encodeSource({ image, maskImage, signal, ...size }: CheckedRequest): Promise<Source | undefined> {
    if (image === undefined) return undefined;
    const drawn = { width: size.drawnWidth, height: size.drawnHeight };
    const picture = await covering(image, size);
    const z = await this.#autoencoder.encode(toTensor(await atDrawnSize(picture, drawn)), { signal });
    if (this.#offload !== 'none') this.#autoencoder.disposeEncoder();
    const [, channels = 0, height = 0, width = 0] = z.shape;
    const latents = channelsLast(scaled(z.data, this.#autoencoder.config.scalingFactor), 1, channels, height * width);
    if (maskImage === undefined) return { latents, picture };
    const maskPicture = await covering(maskImage, size);
    const mask = latentMask(await atDrawnSize(maskPicture, drawn), this.#autoencoder.compression);
    return { latents, picture, mask, maskPicture };
  }

  /** Noise for a batch, [B, N, channels], new at each call: what torch's generators with the images' seeds give. */
  #noise({ seeds, signal }: CheckedRequest, { images, height, width }: DenoiseShape): () => Promise<Float32Array> {
    const channels = this.#transformer.config.inChannels;
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
    return channelsLast(data, images, this.#transformer.config.inChannels, height * width);
  }

  /** The reference's tiles where they are asked for. */
  #tiling(decodeTiling: DecodeTiling): Tiling | undefined {
    return decodeTiling === 'blend' ? referenceTiling(this.#transformer.config.sampleSize) : undefined;
  }

  #tilingOptions({ tiling = 'auto', signal }: { tiling?: DecodeTiling; signal?: AbortSignal }) {
    return { tiling: this.#tiling(checkChoice('tiling', tiling, DECODE_TILINGS)), signal };
  }

  #firstLayout(latents: Float32Array, { images, height, width }: DenoiseShape): TensorLike {
    const channels = this.#transformer.config.inChannels;
    const data = channelsFirst(latents, images, channels, height * width);
    return { data, shape: [images, channels, height, width] };
  }

  /** Image `index` of a batch of latents. */
  async #decode(
    latents: Float32Array, // [B, N, channels]
    index: number,
    { height, width }: DenoiseShape,
    request: CheckedRequest,
    common: Omit<GenerationParameters, 'prompt' | 'negativePrompt' | 'seed'>,
    source: Source | undefined,
  ): Promise<SanaImage> {
    const elements = height * width * this.#transformer.config.inChannels;
    const own = latents.subarray(index * elements, (index + 1) * elements);
    const options = { tiling: this.#tiling(request.decodeTiling), signal: request.signal };
    const data = await this.#autoencoder.decodeRgb(own, height, width, request, options);
    const prompt = Math.floor(index / request.numImagesPerPrompt);
    const { maskPicture, picture } = source ?? {};
    const whole = maskPicture === undefined || picture === undefined ? data : composite(data, picture, maskPicture);
    return new SanaImage(
      { width: request.width, height: request.height, data: whole },
      {
        ...common,
        prompt: request.prompts[prompt] ?? '',
        negativePrompt: request.negativePrompts[prompt] ?? '',
        seed: String(request.seeds[index]),
      },
    );
  }

  /** What all images of a call have in common: enough, with prompts and seed, to make one again. */
  async #parameters(
    request: CheckedRequest,
  ): Promise<Omit<GenerationParameters, 'prompt' | 'negativePrompt' | 'seed'>> {
    this.#fingerprint ??= await fingerprint(this.#checkpoint);
    const { complexHumanInstruction: instruction, latents, strength, image, maskImage } = request;
    const { maxTimesteps, intermediateTimesteps } = request.timesteps;
    return {
      width: request.width,
      height: request.height,
      numInferenceSteps: request.numInferenceSteps,
      guidanceScale: request.guidanceScale,
      scheduler: request.scheduler,
      ...(instruction !== undefined && { complexHumanInstruction: instruction.length === 0 ? null : instruction }),
      cleanCaption: request.cleanCaption,
      maxSequenceLength: request.maxSequenceLength,
      useResolutionBinning: request.useResolutionBinning,
      ...(request.decodeTiling !== 'auto' && { decodeTiling: request.decodeTiling }),
      ...(maxTimesteps !== undefined && { maxTimesteps }),
      ...(intermediateTimesteps !== undefined && { intermediateTimesteps }),
      ...(request.pagScale > 0 && { pagScale: request.pagScale }),
      ...(strength !== undefined && { strength }),
      ...(image !== undefined && { imageSha256: sha256(image.data) }),
      ...(maskImage !== undefined && { maskSha256: sha256(maskImage.data) }),
      ...(latents !== undefined && { latentsSha256: sha256(latents.data) }),
      model: this.#name,
      modelFingerprint: this.#fingerprint,
      dtype: publicDtype(this.#dtype),
      devicePath: this.#engine.device.info.path,
      version,
    };
  }

  async #explain(request: CheckedRequest): Promise<Explanation> {
    const { negative, positive } = await tokenize(this.#loadedTokenizer, request);
    const perturbed = request.pagScale > 0 ? positive : [];
    const tokens = [...perturbed, ...negative, ...positive].map(({ positions }) => positions.length);
    return explain({
      request,
      positive,
      negative,
      offload: this.#offload,
      textEncoder: this.#textEncoder,
      denoiser: this.#transformer.denoiser(this.#shapeOf(request, tokens)),
      transformerBytes: this.#transformer.weightBytes,
      autoencoder: this.#autoencoder,
      tiling: this.#tiling(request.decodeTiling),
      reachableBytes: this.#engine.spareBytes + this.#heldBytes,
      workspaceBytes: this.#engine.workspaceBytes,
      model: this.#name,
      device: this.#engine.deviceId,
      devicePath: this.#engine.device.info.path,
      dtype: publicDtype(this.#dtype),
    });
  }

  /** What this pipeline has on the device and could give back, beside the arena. */
  get #heldBytes(): number {
    const denoiser = this.#denoiser === undefined ? 0 : this.#denoiser.stateBytes - this.#denoiser.unallocatedBytes;
    const transformer = this.#transformer.loaded ? this.#transformer.weightBytes : 0;
    return this.#textEncoder.heldBytes + transformer + this.#autoencoder.heldBytes + denoiser;
  }

  /** The repository's or the folder's name, never a path. */
  get #name(): string {
    const folder = resolve(this.#checkpoint.folder);
    return repositoryOfSnapshot(folder) ?? basename(folder);
  }
}

/** The picture that a generation starts from. */
interface Source {
  readonly latents: Float32Array; // [pixels, channels] in the transformer's scale
  readonly picture: RawImage; // of the size asked for
  readonly mask?: Float32Array; // [pixels], 1: drawn anew
  readonly maskPicture?: RawImage; // of the size asked for
}

/** The latents of a picture at a level of noise, [images, pixels, channels]. */
function noised(source: Source, noise: Float32Array, mix: { clean: number; noise: number }): Float32Array {
  const { latents } = source;
  return noise.map((value, i) => mix.clean * (latents[i % latents.length] ?? 0) + mix.noise * value);
}

function scaled(values: Float32Array, factor: number): Float32Array {
  return values.map((value) => value * factor);
}

function sha256(data: NodeJS.ArrayBufferView): string {
  return createHash('sha256').update(data).digest('hex');
}

function either(one: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? one : AbortSignal.any([one, other]);
}

function computeDtype(dtype: CheckedLoadOptions['dtype'], engine: Engine): ComputeDtype {
  if (dtype === 'auto') return defaultDtype(engine.device);
  if (dtype === 'float32') return 'f32';
  if (dtype === 'bfloat16') return 'bf16';
  if (engine.deviceId !== 'cpu') return 'f16';
  throw argumentError('dtype', "'auto', 'float32' or 'bfloat16' on the CPU", dtype);
}

function publicDtype(dtype: ComputeDtype): DTypeName {
  return ({ f32: 'float32', bf16: 'bfloat16', f16: 'float16' } as const)[dtype];
}

async function asTensor(image: ImageInput | TensorLike): Promise<TensorLike> {
  if (typeof image === 'object' && image !== null && 'shape' in image && 'data' in image) return image as TensorLike;
  return toTensor(await readImage(image as ImageInput));
}
