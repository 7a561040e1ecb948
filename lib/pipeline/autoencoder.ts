/** The autoencoder with its weights: latents to pictures and back. */

import { SanaError } from '../errors.ts';
import { Graph } from '../graph/graph.ts';
import type { Plan } from '../graph/planner.ts';
import { Program, read, write } from '../graph/program.ts';
import { Block, reshape, type Tensor } from '../graph/tensor.ts';
import { AutoencoderDecoder, AutoencoderEncoder } from '../models/dc-ae.ts';
import type { WeightsProgress } from '../models/weights.ts';
import type { Component } from '../runtime/checkpoint.ts';
import type { AutoencoderConfig } from '../runtime/configs.ts';
import type { ComputeDtype, Engine } from './engine.ts';
import { checkTensor } from './layout.ts';
import { resizeCropPlan } from './resolution.ts';
import type { TensorLike } from './types.ts';

/** The size of a picture in pixels. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** The memory and plan of decoding one picture to bytes. */
interface RgbGraph {
  readonly block: Block;
  readonly plan: Plan;
  readonly latents: Tensor; // [1, h, w, latentChannels] f32
  readonly rgb: Tensor; // [1, height, width, 3] u8
  readonly nonFinite: Tensor; // [1] i32
}

export class Autoencoder {
  readonly #engine: Engine;
  readonly #component: Component<AutoencoderConfig>;
  readonly #dtype: ComputeDtype;
  readonly #decoder: AutoencoderDecoder;
  readonly #encoder: AutoencoderEncoder;

  constructor(engine: Engine, component: Component<AutoencoderConfig>, dtype: ComputeDtype) {
    this.#engine = engine;
    this.#component = component;
    this.#dtype = dtype;
    this.#decoder = new AutoencoderDecoder(engine.device, component.config, dtype);
    this.#encoder = new AutoencoderEncoder(engine.device, component.config, dtype);
  }

  get config(): AutoencoderConfig {
    return this.#component.config;
  }

  /** Pixels to a latent along each side: 32. */
  get compression(): number {
    return 2 ** (this.config.decoderBlockOutChannels.length - 1);
  }

  get decoderBytes(): number {
    return this.#decoder.weights.bytes;
  }

  /** Throws ERR_SANA_MODEL when the decoder's tensors are not those of the configuration. */
  check(): void {
    this.#decoder.weights.check(this.#component, /^encoder\./);
  }

  async load(signal?: AbortSignal, onProgress?: (progress: WeightsProgress) => void): Promise<void> {
    if (this.#decoder.weights.block.allocated) return;
    await this.#decoder.weights.load(this.#component, {
      others: /^encoder\./,
      signal,
      ...(onProgress && { onProgress }),
    });
  }

  /** The encoder is only loaded when a picture is encoded. */
  async #loadEncoder(signal?: AbortSignal): Promise<void> {
    if (this.#encoder.weights.block.allocated) return;
    await this.#encoder.weights.load(this.#component, { others: /^decoder\./, signal });
  }

  dispose(): void {
    this.#decoder.weights.dispose();
    this.#encoder.weights.dispose();
  }

  /** z = latents / scalingFactor, [B, latentChannels, h, w] -> [B, 3, 32h, 32w], about [-1, 1], not clamped. */
  async decode(z: TensorLike, signal?: AbortSignal): Promise<TensorLike> {
    const [b = 0, c = 0, h = 0, w = 0] = checkTensor('latents', z, [-1, this.config.latentChannels, -1, -1]);
    await this.load(signal);
    return await this.#convert(
      'autoencoder decode',
      z,
      [b, this.config.inChannels, h * this.compression, w * this.compression],
      (g, input) => this.#decoder.record(g, reshape(input, [b, h, w, c])),
      signal,
    );
  }

  /** [B, 3, H, W] in [-1, 1], H and W multiples of 32 -> z before scaling, [B, latentChannels, H/32, W/32]. */
  async encode(image: TensorLike, signal?: AbortSignal): Promise<TensorLike> {
    const [b = 0, c = 0, h = 0, w = 0] = checkTensor('image', image, [-1, this.config.inChannels, -1, -1]);
    const factor = this.compression;
    if (h % factor !== 0 || w % factor !== 0) {
      checkTensor('image', image, [b, c, Math.ceil(h / factor) * factor, Math.ceil(w / factor) * factor]);
    }
    await this.#loadEncoder(signal);
    return await this.#convert(
      'autoencoder encode',
      image,
      [b, this.config.latentChannels, h / factor, w / factor],
      (g, input) => this.#encoder.record(g, reshape(input, [b, h, w, c])),
      signal,
    );
  }

  /** Plans decoding one picture of h x w latents to `size`, for `explain`: nothing is allocated or run. */
  planRgb(h: number, w: number, size: Size): { plan: Plan; stateBytes: number } {
    const { plan, block } = this.#recordRgb(h, w, size);
    return { plan, stateBytes: block.bytes };
  }

  /** Latents in the transformer's scale of one picture, [N, latentChannels], to RGB bytes of `size`. */
  async decodeRgb(latents: Float32Array, h: number, w: number, size: Size, signal?: AbortSignal): Promise<Uint8Array> {
    await this.load(signal);
    const { device } = this.#engine;
    const graph = this.#recordRgb(h, w, size);
    graph.block.allocate();
    try {
      await write(device, graph.latents, latents);
      await this.#run(graph.plan, signal);
      const [count = 0] = new Int32Array(await read(device, graph.nonFinite));
      if (count > 0) {
        throw new SanaError('ERR_SANA_NUMERICS', `The autoencoder made ${count} NaN or infinite values`, {
          hint: "The weights are damaged, or overflow in this dtype: try dtype 'float32' or download the autoencoder again.",
        });
      }
      return new Uint8Array(await read(device, graph.rgb));
    } finally {
      graph.block.dispose();
    }
  }

  #recordRgb(h: number, w: number, size: Size): RgbGraph {
    const block = new Block(this.#engine.device, 'picture');
    const latents = block.reserve('f32', [1, h, w, this.config.latentChannels]);
    const rgb = block.reserve('u8', [1, size.height, size.width, 3]);
    const nonFinite = block.reserve('i32', [1]);
    const g = new Graph('autoencoder decode');
    const z = g.convert(latents, { dtype: this.#dtype, scale: 1 / this.config.scalingFactor });
    let image = this.#decoder.record(g, z); // [1, 32h, 32w, 3] f32
    g.countNonFinite(image, nonFinite);
    const decoded = { height: h * this.compression, width: w * this.compression };
    if (decoded.height !== size.height || decoded.width !== size.width) {
      const { resizedHeight, resizedWidth } = resizeCropPlan(decoded.height, decoded.width, size.height, size.width);
      image = g.resizeCrop(image, { resizedHeight, resizedWidth, height: size.height, width: size.width });
    }
    g.toRgb8(image, rgb);
    return { block, plan: g.plan(), latents, rgb, nonFinite };
  }

  /** Runs a model between two channels-first tensors on the host. */
  async #convert(
    name: string,
    input: TensorLike, // [B, C, H, W]
    shape: readonly [number, number, number, number], // of the result
    record: (g: Graph, input: Tensor) => Tensor,
    signal?: AbortSignal,
  ): Promise<TensorLike> {
    const { device } = this.#engine;
    const [b = 0, c = 0, h = 0, w = 0] = input.shape;
    const [outB, outC, outH, outW] = shape;
    const block = new Block(device, name);
    const from = block.reserve('f32', [b, c, h * w]);
    const to = block.reserve('f32', [outB, outC, outH * outW]);
    const g = new Graph(name);
    const output = record(g, g.transpose(from, { dtype: this.#dtype })); // [B, H, W, C]
    g.transpose(reshape(output, [outB, outH * outW, outC]), { into: to });
    const plan = g.plan();
    block.allocate();
    try {
      await write(device, from, input.data);
      await this.#run(plan, signal);
      return { data: new Float32Array(await read(device, to)), shape };
    } finally {
      block.dispose();
    }
  }

  async #run(plan: Plan, signal?: AbortSignal): Promise<void> {
    const program = new Program(this.#engine.device, plan);
    try {
      await this.#engine.run(program, signal);
    } finally {
      program.dispose();
    }
  }
}
