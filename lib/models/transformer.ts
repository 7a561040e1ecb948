/**
 * The transformer with its weights: single forward passes for other programs, and the denoising steps of a generation.
 */

import { argumentError, SanaError } from '../base/errors.ts';
import type { Component } from '../checkpoint/checkpoint.ts';
import type { TransformerConfig } from '../checkpoint/configs.ts';
import { Graph } from '../graph/graph.ts';
import type { Plan } from '../graph/planner.ts';
import { Program, read, write } from '../graph/program.ts';
import { reshape, Storage, type Tensor } from '../graph/tensor.ts';
import { type Adapter, Adapters } from '../lora/adapters.ts';
import { readLoraFile } from '../lora/lora-file.ts';
import { fp16Clip } from '../networks/sana-block.ts';
import { SanaTransformer, type TransformerInputs } from '../networks/sana-transformer.ts';
import type { ModelDtype, WeightsProgress } from '../networks/weights.ts';
import { checkFinite } from '../request/fields.ts';
import { type CheckedLora, checkLoraName } from '../request/lora-options.ts';
import type { LoadedLora, TensorLike } from '../request/types.ts';
import type { StepCoefficients } from '../schedulers/schedule.ts';
import { channelsLast, checkTensor } from './channel-order.ts';
import { type Control, ControlGraph, type ControlNetPart } from './controlnet.ts';
import type { Engine } from './engine.ts';
import type { PromptEmbeds } from './prompt-embeds.ts';

/** What the memory and programs of a generation depend on. */
export interface DenoiseShape {
  readonly images: number; // B
  readonly height: number; // latent pixels
  readonly width: number;
  /** Tokens of each prompt: with `perturbedBlocks` those of all, with `guidance` the unconditional ones, then all. */
  readonly lengths: readonly number[];
  readonly guidance: boolean;
  /** Blocks that also run with perturbed attention; none: without perturbed-attention guidance. */
  readonly perturbedBlocks: readonly number[];
  /** Control pictures: one for all images, or one for each; 0 without a ControlNet. */
  readonly controlPictures: number;
}

export class Transformer {
  readonly #engine: Engine;
  readonly #component: Component<TransformerConfig>;
  readonly #model: SanaTransformer;
  /** The ControlNet, if there is one. Its weights are loaded and released separately. */
  readonly #controlnet: ControlNetPart | undefined;
  readonly #adapters: Adapters;

  /** `trainedInFp16`: see lib/checkpoint/fp16.ts. */
  constructor(
    engine: Engine,
    component: Component<TransformerConfig>,
    dtype: ModelDtype,
    trainedInFp16: boolean,
    controlnet?: ControlNetPart,
  ) {
    this.#engine = engine;
    this.#controlnet = controlnet;
    this.#component = component;
    this.#model = new SanaTransformer(engine.device, component.config, dtype);
    this.#model.blocks.attentionClip = trainedInFp16 || dtype === 'f16' ? fp16Clip : 0;
    this.#adapters = new Adapters(engine, this.#model.weights, component);
  }

  get config(): TransformerConfig {
    return this.#component.config;
  }

  get weightBytes(): number {
    return this.#model.weights.bytes;
  }

  get loaded(): boolean {
    return this.#model.weights.storage.allocated;
  }

  /** Throws ERR_SANA_MODEL if the checkpoint's tensors do not match its configuration. */
  check(): void {
    this.#model.weights.check(this.#component);
  }

  async load(signal?: AbortSignal, onProgress?: (progress: WeightsProgress) => void): Promise<void> {
    if (this.loaded) return;
    await this.#model.weights.load(this.#component, { signal, ...(onProgress && { onProgress }) });
    this.#adapters.reset();
  }

  release(): void {
    this.#model.weights.dispose();
    this.#adapters.reset();
  }

  /** The loaded LoRA adapters, in order. */
  get adapters(): readonly Adapter[] {
    return this.#adapters.list;
  }

  /** Loads the weights and merges the adapters into them, each with its scale times `loraScale`. */
  async prepare(loraScale: number, signal?: AbortSignal): Promise<void> {
    await this.load(signal);
    await this.#adapters.merge(loraScale, signal);
  }

  /** What `prepare` would run now and the memory it needs, if there is anything to compute. */
  explainMerge(loraScale: number): { plan: Plan; stateBytes: number } | undefined {
    return this.#adapters.explain(loraScale);
  }

  /** Reads an adapter, and merges it if the weights are loaded; otherwise it is merged once they are. */
  async addAdapter(path: string, { name: given, scale, signal }: CheckedLora): Promise<LoadedLora> {
    if (given !== undefined) this.#adapters.checkNew(given);
    const file = await readLoraFile(path, this.#adapters.targets, { signal });
    const name = given ?? checkLoraName(file.name);
    this.#adapters.add(name, scale, file);
    try {
      if (this.loaded) await this.#adapters.merge(1, signal);
    } catch (error) {
      this.#adapters.remove(name);
      throw error;
    }
    return { name, scale, sha256: file.sha256, matrices: file.deltas.length, warnings: file.warnings };
  }

  /** Removes one adapter from the weights, or all. It is gone even if this fails: the next call does the rest. */
  async removeAdapter(name: string | undefined): Promise<void> {
    this.#adapters.remove(name);
    if (this.loaded) await this.#adapters.merge(1);
  }

  /** Records a generation of this shape; nothing is allocated yet. */
  denoiser(shape: DenoiseShape): Denoiser {
    return new Denoiser(this.#engine, this.#model, shape, this.#controlnet);
  }

  /**
   * The predicted velocity, [B, outChannels, h, w].
   *
   * @param inputs.latents [B, inChannels, h, w]
   * @param inputs.timestep one number, or one per batch item, in the model's units (0..1000)
   * @param inputs.embeds [B, n, captionChannels]
   * @param inputs.mask [B, n], non-zero where a token counts; a row of zeros counts all
   * @param inputs.guidance the guidance scale, for models that embed it (SANA-Sprint); others reject it
   * @param inputs.controlLatents [B or 1, inChannels, h, w]: a picture's latents times the scaling factor, for models with
   *   a ControlNet; without them the transformer runs alone
   * @param inputs.controlnetConditioningScale of the ControlNet; 1 where it is left out
   * @param inputs.loraScale multiplies the scales of all adapters; 1 by default
   */
  async forward(inputs: {
    latents: TensorLike;
    timestep: number | readonly number[];
    embeds: TensorLike;
    mask: TensorLike | { data: Uint8Array | Float32Array | Int32Array; shape: readonly number[] };
    guidance?: number;
    controlLatents?: TensorLike;
    controlnetConditioningScale?: number;
    loraScale?: number;
    signal?: AbortSignal;
  }): Promise<TensorLike> {
    const { config } = this;
    const loraScale = checkFinite('loraScale', inputs.loraScale ?? 1);
    if ((inputs.guidance !== undefined) !== config.guidanceEmbeds) {
      const expected = config.guidanceEmbeds
        ? 'a number, because the model embeds it'
        : 'left out, because the model has none';
      throw argumentError('guidance', expected, inputs.guidance);
    }
    const [b = 0, , height = 0, width = 0] = checkTensor('latents', inputs.latents, [-1, config.inChannels, -1, -1]);
    checkTensor('embeds', inputs.embeds, [b, -1, config.captionChannels]);
    const timesteps = typeof inputs.timestep === 'number' ? [inputs.timestep] : inputs.timestep;
    if (timesteps.length !== 1 && timesteps.length !== b) {
      throw argumentError('timestep', `one number, or ${b} of them`, timesteps);
    }
    const embeds = realTokens(inputs.embeds, inputs.mask);
    const controlled = this.#checkControl(inputs, [b, height, width]);
    await this.prepare(loraScale, inputs.signal);
    await controlled?.part.load(inputs.signal);

    const { device } = this.#engine;
    const pixels = height * width;
    const storage = new Storage(device, 'transformer forward');
    const lengths = embeds.map(({ tokens }) => tokens);
    const control =
      controlled &&
      new ControlGraph(this.#engine, controlled.part.model, storage, {
        pictures: controlled.pictures,
        height,
        width,
        lengths,
      });
    const context = new TextContextGraph(this.#engine, this.#model, storage, lengths, control);
    const latents = storage.reserve('f32', [b, config.inChannels, pixels]);
    const timestep = storage.reserve('f32', [timesteps.length]);
    const conditions = new Conditions(this.#engine, this.#model, storage, height, width);
    const velocity = storage.reserve('f32', [b, config.outChannels, pixels]);
    const g = new Graph('transformer');
    const input = g.transpose(latents, { dtype: this.#model.weights.dtype }); // [B, N, inChannels]
    const map = reshape(input, [b, height, width, config.inChannels]);
    const afterBlock = control?.record(g, { latents: map, timestep });
    const seen = { latents: map, timestep, text: context, ...conditions.tensors, afterBlock };
    const predicted = this.#model.record(g, seen);
    g.transpose(reshape(predicted, [b, pixels, config.outChannels]), { into: velocity });
    const plan = g.plan();
    storage.allocate();
    try {
      await context.write(embeds);
      await write(device, latents, inputs.latents.data);
      await write(device, timestep, Float32Array.from(timesteps));
      await conditions.write(inputs.guidance ?? 0);
      if (controlled !== undefined) await control?.write(controlled.control);
      for (const each of [context.plan, plan]) {
        const program = new Program(device, each);
        try {
          await this.#engine.run(program, inputs.signal);
        } finally {
          program.dispose();
        }
      }
      return { data: new Float32Array(await read(device, velocity)), shape: [b, config.outChannels, height, width] };
    } finally {
      storage.dispose();
    }
  }

  /** The ControlNet's inputs in a forward pass, or undefined if it has no part in it. */
  #checkControl(
    inputs: Pick<Parameters<Transformer['forward']>[0], 'controlLatents' | 'controlnetConditioningScale'>,
    [b, height, width]: readonly [number, number, number],
  ): { part: ControlNetPart; pictures: number; control: Control } | undefined {
    const { controlLatents, controlnetConditioningScale: scale } = inputs;
    const part = this.#controlnet;
    if (controlLatents === undefined || part === undefined) {
      const needed =
        part === undefined ? 'left out, because the model has no ControlNet' : 'left out without `controlLatents`';
      if (controlLatents !== undefined) throw argumentError('controlLatents', needed, controlLatents);
      if (scale !== undefined) throw argumentError('controlnetConditioningScale', needed, scale);
      return undefined;
    }
    const { inChannels } = this.config;
    const [pictures = 0] = checkTensor('controlLatents', controlLatents, [-1, inChannels, height, width]);
    if (pictures !== 1 && pictures !== b) checkTensor('controlLatents', controlLatents, [b, inChannels, height, width]);
    const latents = channelsLast(controlLatents.data, pictures, inChannels, height * width);
    return { part, pictures, control: { latents, scale: checkFinite('controlnetConditioningScale', scale ?? 1) } };
  }
}

/** The prompts' memory: embeddings in, every block's keys and values out. */
class TextContextGraph {
  readonly lengths: readonly number[];
  readonly keysValues: readonly Tensor[]; // [L][T, 2C]
  readonly plan: Plan;
  readonly #engine: Engine;
  readonly #embeds: Tensor; // [T, captionChannels] f32

  /** `control` records its part for the prompts in the same program. */
  constructor(
    engine: Engine,
    model: SanaTransformer,
    storage: Storage,
    lengths: readonly number[],
    control?: ControlGraph,
  ) {
    const tokens = lengths.reduce((a, b) => a + b, 0);
    const { dtype } = model.weights;
    this.#engine = engine;
    this.lengths = lengths;
    this.#embeds = storage.reserve('f32', [tokens, model.config.captionChannels]);
    this.keysValues = Array.from({ length: model.layers }, () => storage.reserve(dtype, [tokens, 2 * model.channels]));
    const g = new Graph('text context');
    const embeds = g.convert(this.#embeds, { dtype });
    model.recordContext(g, embeds, this.keysValues);
    control?.recordContext(g, embeds);
    this.plan = g.plan();
  }

  async write(embeds: readonly PromptEmbeds[]): Promise<void> {
    const all = new Float32Array(embeds.reduce((sum, { data }) => sum + data.length, 0));
    let offset = 0;
    for (const { data } of embeds) {
      all.set(data, offset);
      offset += data.length;
    }
    await write(this.#engine.device, this.#embeds, all);
  }
}

/** The transformer's inputs besides latents, time and text, if it has any: constant over the steps. */
class Conditions {
  readonly tensors: Pick<TransformerInputs, 'positions' | 'guidance'>;
  readonly #engine: Engine;
  readonly #model: SanaTransformer;
  readonly #height: number; // latent pixels
  readonly #width: number;

  constructor(engine: Engine, model: SanaTransformer, storage: Storage, height: number, width: number) {
    const { interpolationScale, guidanceEmbeds } = model.config;
    this.#engine = engine;
    this.#model = model;
    this.#height = height;
    this.#width = width;
    this.tensors = {
      positions: interpolationScale === null ? undefined : storage.reserve('f32', [1, height * width, model.channels]),
      guidance: guidanceEmbeds ? storage.reserve('f32', [1]) : undefined,
    };
  }

  async write(guidanceScale: number): Promise<void> {
    const { device } = this.#engine;
    const { positions, guidance } = this.tensors;
    if (positions !== undefined) await write(device, positions, this.#model.positions(this.#height, this.#width));
    if (guidance !== undefined) {
      await write(device, guidance, Float32Array.of(guidanceScale * this.#model.config.guidanceEmbedsScale));
    }
  }
}

/** The denoising of one batch: latents and solver history that stay on the device, and a program for one step. */
export class Denoiser {
  readonly shape: DenoiseShape;
  readonly contextPlan: Plan;
  readonly stepPlan: Plan;
  readonly #engine: Engine;
  readonly #storage: Storage;
  readonly #context: TextContextGraph;
  readonly #conditions: Conditions;
  readonly #control: ControlGraph | undefined;
  readonly #latents: Tensor; // [B, N, channels] f32
  readonly #previous: Tensor; // [B, N, channels] f32: the last step's estimate of the clean latents
  readonly #timestep: Tensor; // [1] f32
  readonly #coefficients: Tensor; // [7] f32
  readonly #nonFinite: Tensor; // [1] i32
  #contextProgram: Program | undefined;
  #stepProgram: Program | undefined;

  constructor(engine: Engine, model: SanaTransformer, shape: DenoiseShape, controlnet?: ControlNetPart) {
    const { images, height, width, lengths, guidance, perturbedBlocks, controlPictures: pictures } = shape;
    const parts = 1 + Number(guidance) + Number(perturbedBlocks.length > 0);
    const channels = model.config.inChannels;
    const storage = new Storage(engine.device, 'generation');
    this.shape = shape;
    this.#engine = engine;
    this.#storage = storage;
    this.#latents = storage.reserve('f32', [images, height * width, channels]);
    this.#previous = storage.reserve('f32', [images, height * width, channels]);
    this.#timestep = storage.reserve('f32', [1]);
    this.#coefficients = storage.reserve('f32', [7]);
    this.#nonFinite = storage.reserve('i32', [1]);
    if (controlnet !== undefined && pictures > 0) {
      this.#control = new ControlGraph(engine, controlnet.model, storage, { pictures, height, width, lengths });
    }
    this.#context = new TextContextGraph(engine, model, storage, lengths, this.#control);
    this.contextPlan = this.#context.plan;
    this.#conditions = new Conditions(engine, model, storage, height, width);

    const g = new Graph('denoise step');
    const input = g.convert(this.#latents, { dtype: model.weights.dtype, repeat: parts });
    const map = reshape(input, [parts * images, height, width, channels]);
    const velocity = model.record(g, {
      latents: map,
      timestep: this.#timestep,
      text: this.#context,
      ...this.#conditions.tensors,
      afterBlock: this.#control?.record(g, { latents: map, timestep: this.#timestep }),
      perturbation: perturbedBlocks.length > 0 ? { parts, blocks: perturbedBlocks } : undefined,
    }); // [parts * B, height, width, channels]
    g.solverStep(
      reshape(velocity, [velocity.shape[0] ?? 0, height * width, channels]),
      this.#coefficients,
      this.#latents,
      this.#previous,
    );
    g.countNonFinite(this.#latents, this.#nonFinite);
    this.stepPlan = g.plan();
  }

  /** Bytes that stay allocated while the batch is denoised. */
  get stateBytes(): number {
    return this.#storage.bytes;
  }

  /** Bytes that `start` will allocate. */
  get unallocatedBytes(): number {
    return this.#storage.allocated ? 0 : this.#storage.bytes;
  }

  /** Allocates the memory, writes the start latents [B, N, channels] and computes the prompts' keys and values. */
  async start(
    latents: Float32Array,
    embeds: readonly PromptEmbeds[],
    guidanceScale: number,
    control: Control | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    const { device } = this.#engine;
    this.#storage.allocate();
    this.#contextProgram ??= new Program(device, this.contextPlan);
    this.#stepProgram ??= new Program(device, this.stepPlan);
    await write(device, this.#latents, latents);
    await write(device, this.#previous, new Float32Array(latents.length));
    await this.#conditions.write(guidanceScale);
    if (control !== undefined) await this.#control?.write(control);
    await this.#context.write(embeds);
    await this.#engine.run(this.#contextProgram, signal);
  }

  /** Sets the noise of the next step of a schedule that renoises, [B, N, channels]. */
  async renoise(noise: Float32Array): Promise<void> {
    await write(this.#engine.device, this.#previous, noise);
  }

  /** Replaces the current latents, [B, N, channels]. */
  async setLatents(latents: Float32Array): Promise<void> {
    await write(this.#engine.device, this.#latents, latents);
  }

  /** One step. `step` is only for the error message. */
  async step(
    step: number,
    timestep: number,
    scales: { readonly guidanceScale: number; readonly pagScale: number },
    { p, q, a, b, c }: StepCoefficients,
    signal?: AbortSignal,
  ): Promise<void> {
    const { device } = this.#engine;
    if (this.#stepProgram === undefined) throw new Error('start() comes first');
    // Without an unconditional part, the perturbed part takes its place: ptb + (1 + w) (cond - ptb).
    const g = this.shape.guidance ? scales.guidanceScale : 1 + scales.pagScale;
    // Queued together: the device runs them in order, without waiting for this thread in between.
    const [, , , counted] = await Promise.all([
      write(device, this.#timestep, Float32Array.of(timestep)),
      write(device, this.#coefficients, Float32Array.of(g, p, q, a, b, c, scales.pagScale)),
      this.#engine.run(this.#stepProgram, signal),
      read(device, this.#nonFinite),
    ]);
    const [count = 0] = new Int32Array(counted);
    if (count > 0) {
      throw new SanaError(
        'ERR_SANA_NUMERICS',
        `Step ${step + 1} of the transformer made ${count} NaN or infinite latents`,
        {
          hint: "The weights are damaged, the start latents are not finite, or this dtype overflows: try dtype 'float32'.",
        },
      );
    }
  }

  /** The current latents, or the estimate of the clean ones, [B, N, channels]. */
  async latents(which: 'current' | 'clean' = 'current'): Promise<Float32Array> {
    return new Float32Array(await read(this.#engine.device, which === 'current' ? this.#latents : this.#previous));
  }

  dispose(): void {
    this.#contextProgram?.dispose();
    this.#stepProgram?.dispose();
    this.#contextProgram = undefined;
    this.#stepProgram = undefined;
    this.#storage.dispose();
  }
}

/** The tokens of each batch item that its mask keeps; all of them if it keeps none. */
function realTokens(
  embeds: TensorLike, // [B, n, C]
  mask: { readonly data: ArrayLike<number>; readonly shape: readonly number[] }, // [B, n]
): PromptEmbeds[] {
  const [b = 0, n = 0, channels = 0] = embeds.shape;
  if (mask.shape.join() !== [b, n].join() || mask.data.length !== b * n) {
    throw argumentError('mask', `of shape [${b}, ${n}]`, `[${mask.shape.join(', ')}]`);
  }
  return Array.from({ length: b }, (_, item) => {
    const all = Array.from({ length: n }, (_, token) => token);
    const kept = all.filter((token) => mask.data[item * n + token] !== 0);
    const tokens = kept.length > 0 ? kept : all;
    const data = new Float32Array(tokens.length * channels);
    tokens.forEach((token, row) => {
      const from = (item * n + token) * channels;
      data.set(embeds.data.subarray(from, from + channels), row * channels);
    });
    return { tokens: tokens.length, channels, data };
  });
}
