/** The ControlNet of a pipeline with its weights, and its share of a run of the transformer. */

import type { Component } from '../checkpoint/checkpoint.ts';
import type { TransformerConfig } from '../checkpoint/configs.ts';
import type { Graph } from '../graph/graph.ts';
import { write } from '../graph/program.ts';
import { reshape, type Storage, type Tensor } from '../graph/tensor.ts';
import { fp16Clip } from '../networks/sana-block.ts';
import { ControlNet } from '../networks/sana-controlnet.ts';
import type { TransformerInputs } from '../networks/sana-transformer.ts';
import type { ModelDtype, WeightsProgress } from '../networks/weights.ts';
import type { Engine } from './engine.ts';

/** The inputs of a ControlNet for a generation. */
export interface Control {
  /** [K, N, inChannels] in the transformer's scale: of one picture for all images, or of one for each. */
  readonly latents: Float32Array;
  readonly scale: number;
}

export class ControlNetPart {
  readonly model: ControlNet;
  readonly #component: Component<TransformerConfig>;

  /** `base` is the transformer's configuration; `trainedInFp16`: see lib/checkpoint/fp16.ts. */
  constructor(
    engine: Engine,
    component: Component<TransformerConfig>,
    base: TransformerConfig,
    dtype: ModelDtype,
    trainedInFp16: boolean,
  ) {
    this.#component = component;
    this.model = new ControlNet(engine.device, component.config, base, dtype);
    this.model.blocks.attentionClip = trainedInFp16 || dtype === 'f16' ? fp16Clip : 0;
  }

  get weightBytes(): number {
    return this.model.weights.bytes;
  }

  get loaded(): boolean {
    return this.model.weights.storage.allocated;
  }

  /** Throws ERR_SANA_MODEL if the checkpoint's tensors do not match its configuration. */
  check(): void {
    this.model.weights.check(this.#component);
  }

  async load(signal?: AbortSignal, onProgress?: (progress: WeightsProgress) => void): Promise<void> {
    if (this.loaded) return;
    await this.model.weights.load(this.#component, { signal, ...(onProgress && { onProgress }) });
  }

  release(): void {
    this.model.weights.dispose();
  }
}

/** The memory of a ControlNet in a run of the transformer, and what it records. */
export class ControlGraph {
  readonly #engine: Engine;
  readonly #model: ControlNet;
  readonly #height: number; // latent pixels
  readonly #width: number;
  readonly #lengths: readonly number[];
  readonly #latents: Tensor; // [K, N, inChannels] f32
  readonly #picture: Tensor; // [K, N, C]
  readonly #scale: Tensor; // [1, C] f32
  readonly #keysValues: readonly Tensor[]; // [L][T, 2C]

  constructor(
    engine: Engine,
    model: ControlNet,
    storage: Storage,
    shape: { pictures: number; height: number; width: number; lengths: readonly number[] },
  ) {
    const { pictures, height, width, lengths } = shape;
    const tokens = lengths.reduce((a, b) => a + b, 0);
    const { dtype } = model.weights;
    this.#engine = engine;
    this.#model = model;
    this.#height = height;
    this.#width = width;
    this.#lengths = lengths;
    this.#latents = storage.reserve('f32', [pictures, height * width, model.config.inChannels]);
    this.#picture = storage.reserve(dtype, [pictures, height * width, model.channels]);
    this.#scale = storage.reserve('f32', [1, model.channels]);
    this.#keysValues = Array.from({ length: model.layers }, () => storage.reserve(dtype, [tokens, 2 * model.channels]));
  }

  /** What is the same in every step: from the prompts' embeddings [T, captionChannels], and from the pictures. */
  recordContext(g: Graph, embeds: Tensor): void {
    g.scope('controlnet', () => {
      this.#model.recordContext(g, embeds, this.#keysValues);
      const latents = g.convert(this.#latents, { dtype: this.#model.weights.dtype });
      const [pictures = 0, , channels = 0] = latents.shape;
      this.#model.recordPicture(g, reshape(latents, [pictures, this.#height, this.#width, channels]), this.#picture);
    });
  }

  /** The transformer's `afterBlock`. */
  record(g: Graph, inputs: Pick<TransformerInputs, 'latents' | 'timestep'>): TransformerInputs['afterBlock'] {
    const text = { keysValues: this.#keysValues, lengths: this.#lengths };
    return this.#model.record(g, { ...inputs, text, picture: this.#picture, scale: this.#scale });
  }

  async write({ latents, scale }: Control): Promise<void> {
    const { device } = this.#engine;
    await write(device, this.#latents, latents);
    await write(device, this.#scale, new Float32Array(this.#model.channels).fill(scale));
  }
}
