/** The autoencoder with its weights: latents to pictures and back. */

import { SanaError } from '../base/errors.ts';
import type { Component } from '../checkpoint/checkpoint.ts';
import type { AutoencoderConfig } from '../checkpoint/configs.ts';
import { Graph } from '../graph/graph.ts';
import type { Plan } from '../graph/planner.ts';
import { Program, read, write } from '../graph/program.ts';
import { reshape, Storage, type Tensor } from '../graph/tensor.ts';
import { AutoencoderDecoder, AutoencoderEncoder } from '../networks/dc-ae.ts';
import type { ActivationDtype } from '../networks/weights.ts';
import type { TensorLike } from '../request/types.ts';
import { tallestBands } from './band-height.ts';
import { channelsFirst, checkTensor } from './channel-order.ts';
import { ComponentWeights } from './component-weights.ts';
import type { Engine } from './engine.ts';
import { resizeCropPlan } from './resolution.ts';
import { convertInTiles, needsTiles, type Tiling, tilesAlong } from './tiling.ts';

/** The size of a picture in pixels. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** A recorded conversion and its memory. */
interface Planned {
  readonly plan: Plan;
  readonly storage: Storage;
  /** Bytes of the storage and the intermediates. */
  readonly bytes: number;
  /** Rows of the picture that are decoded at a time; undefined: all of them. */
  readonly bandRows?: number | undefined;
}

/** From one channels-first tensor to another. */
interface TensorGraph extends Planned {
  readonly from: Tensor; // [B, C, h * w] f32
  readonly to: Tensor; // [B, C', h' * w'] f32
  readonly shape: readonly number[]; // [B, C', h', w']
}

/** From latents or a finished picture to bytes. */
interface RgbGraph extends Planned {
  readonly from: Tensor; // [1, h, w, latentChannels] f32, or [1, 3, H * W] f32
  readonly rgb: Tensor; // [1, height, width, 3] u8
  readonly nonFinite: Tensor; // [1] i32
}

/** A program that encoding or decoding a picture runs. */
export interface PictureProgram {
  readonly name: string;
  readonly runs: number;
  readonly plan: Plan;
  readonly stateBytes: number;
  readonly bandRows?: number | undefined;
}

export class Autoencoder {
  readonly #engine: Engine;
  readonly #component: Component<AutoencoderConfig>;
  readonly #dtype: ActivationDtype;
  readonly #decoder: AutoencoderDecoder;
  readonly #encoder: AutoencoderEncoder;
  readonly decoder: ComponentWeights;
  /** Loaded when a picture is first encoded. */
  readonly encoder: ComponentWeights;

  constructor(engine: Engine, component: Component<AutoencoderConfig>, dtype: ActivationDtype) {
    this.#engine = engine;
    this.#component = component;
    this.#dtype = dtype;
    this.#decoder = new AutoencoderDecoder(engine.device, component.config, dtype);
    this.#encoder = new AutoencoderEncoder(engine.device, component.config, dtype);
    this.decoder = new ComponentWeights(this.#decoder.weights, component, { others: /^encoder\./ });
    this.encoder = new ComponentWeights(this.#encoder.weights, component, {
      others: /^decoder\./,
      demandMemory: (bytes) =>
        engine.demandMemory(bytes, "The autoencoder's encoder", "Free memory, or load with offload: 'sequential'."),
    });
  }

  get config(): AutoencoderConfig {
    return this.#component.config;
  }

  /** Pixels per latent along each side: 32. */
  get compression(): number {
    return 2 ** (this.config.decoderBlockOutChannels.length - 1);
  }

  dispose(): void {
    this.decoder.release();
    this.encoder.release();
  }

  /**
   * z = latents / scalingFactor, [B, latentChannels, h, w] -> [B, 3, 32h, 32w], about [-1, 1], not clamped.
   *
   * @param options.tiling in pixels: blend overlapping tiles as the reference does; by default, nothing is cut
   */
  async decode(
    z: TensorLike,
    options: { tiling?: Tiling | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<TensorLike> {
    const { tiling, signal } = options;
    const [, , h = 0, w = 0] = checkTensor('latents', z, [-1, this.config.latentChannels, -1, -1]);
    await this.decoder.load(signal);
    const tiles = tiling && this.#inLatents(tiling);
    if (tiles === undefined || !needsTiles(h, w, tiles)) return await this.#decodeWhole(z, signal);
    return await convertInTiles(z, tiles, this.compression, (tile) => this.#decodeWhole(tile, signal));
  }

  /**
   * [B, 3, H, W] in [-1, 1], H and W multiples of 32 -> z before scaling, [B, latentChannels, H/32, W/32].
   *
   * @param options.tiling in pixels, multiples of 32: blend overlapping tiles as the reference does
   */
  async encode(
    image: TensorLike,
    options: { tiling?: Tiling | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<TensorLike> {
    const { tiling, signal } = options;
    const [b = 0, c = 0, h = 0, w = 0] = checkTensor('image', image, [-1, this.config.inChannels, -1, -1]);
    const factor = this.compression;
    if (h % factor !== 0 || w % factor !== 0) {
      checkTensor('image', image, [b, c, Math.ceil(h / factor) * factor, Math.ceil(w / factor) * factor]);
    }
    await this.encoder.load(signal);
    const whole = (part: TensorLike) => this.#convert(this.#recordEncode(part.shape), part, signal);
    if (tiling === undefined || !needsTiles(h, w, tiling)) return await whole(image);
    return await convertInTiles(image, tiling, 1 / factor, whole);
  }

  /** Plans encoding one picture of `size`, multiples of 32. */
  planEncode({ height, width }: Size): PictureProgram {
    return programOf('encode', 1, this.#recordEncode([1, this.config.inChannels, height, width]));
  }

  /**
   * Plans decoding one picture of h x w latents to `size`: nothing is allocated or run.
   *
   * @param freeBytes the limit of its state and intermediates: it is decoded in bands if decoding all at once needs more
   */
  planRgb(h: number, w: number, size: Size, freeBytes = Number.POSITIVE_INFINITY): PictureProgram {
    return programOf('decode', 1, this.#rgbThatFits(h, w, size, freeBytes));
  }

  /** Plans decoding one picture, in tiles if `tiling` is given and it does not fit into one. */
  planDecode(h: number, w: number, size: Size, freeBytes: number, tiling?: Tiling): PictureProgram[] {
    const tiles = tiling && this.#inLatents(tiling);
    if (tiles === undefined || !needsTiles(h, w, tiles)) return [this.planRgb(h, w, size, freeBytes)];
    const { latentChannels } = this.config;
    const shapes = tilesAlong(h, tiles).flatMap((row) =>
      tilesAlong(w, tiles).map((column) => [1, latentChannels, row.length, column.length].join()),
    );
    return [
      ...[...new Set(shapes)].map((shape) => {
        const runs = shapes.filter((other) => other === shape).length;
        return programOf('decode tile', runs, this.#decodeThatFits(shape.split(',').map(Number), freeBytes));
      }),
      programOf('decode blended', 1, this.#recordBlended(h, w, size)),
    ];
  }

  /** Latents in the transformer's scale of one picture, [N, latentChannels], to RGB bytes of `size`. */
  async decodeRgb(
    latents: Float32Array,
    h: number,
    w: number,
    size: Size,
    { tiling, signal }: { tiling?: Tiling | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<Uint8Array> {
    await this.decoder.load(signal);
    if (tiling === undefined || !needsTiles(h, w, this.#inLatents(tiling))) {
      return await this.#toRgb(this.#rgbThatFits(h, w, size, this.#engine.spareBytes), latents, signal);
    }
    const { latentChannels, scalingFactor } = this.config;
    const scaled = latents.map((x) => x * Math.fround(1 / scalingFactor));
    const z = { data: channelsFirst(scaled, 1, latentChannels, h * w), shape: [1, latentChannels, h, w] };
    const picture = await this.decode(z, { tiling, signal });
    return await this.#toRgb(this.#recordBlended(h, w, size), picture.data, signal);
  }

  #inLatents({ size, stride }: Tiling): Tiling {
    return { size: size / this.compression, stride: stride / this.compression };
  }

  async #decodeWhole(z: TensorLike, signal: AbortSignal | undefined): Promise<TensorLike> {
    return await this.#convert(this.#decodeThatFits(z.shape, this.#engine.spareBytes), z, signal);
  }

  #decodeThatFits(shape: readonly number[], freeBytes: number): TensorGraph {
    return tallestBands(this.#tailRows(shape[2] ?? 0), freeBytes, (rows) => this.#recordDecode(shape, rows));
  }

  #rgbThatFits(h: number, w: number, size: Size, freeBytes: number): RgbGraph {
    return tallestBands(this.#tailRows(h), freeBytes, (rows) => this.#recordRgb(h, w, size, rows));
  }

  /** Rows of the map that is cut into bands. */
  #tailRows(h: number): number {
    return h * this.#decoder.tail.rowsPerLatent;
  }

  #recordDecode([b = 0, c = 0, h = 0, w = 0]: readonly number[], bandRows: number | undefined): TensorGraph {
    const factor = this.compression;
    const graph = this.#recordConvert(
      'autoencoder decode',
      [b, c, h, w],
      [b, this.config.inChannels, h * factor, w * factor],
      (g, input) => this.#decoder.record(g, input, { bandRows }),
    );
    return { ...graph, bandRows: this.#pictureRows(bandRows) };
  }

  #recordEncode([b = 0, c = 0, h = 0, w = 0]: readonly number[]): TensorGraph {
    const factor = this.compression;
    return this.#recordConvert(
      'autoencoder encode',
      [b, c, h, w],
      [b, this.config.latentChannels, h / factor, w / factor],
      (g, input) => this.#encoder.record(g, input),
    );
  }

  #recordConvert(
    name: string,
    [b, c, h, w]: readonly [number, number, number, number],
    shape: readonly [number, number, number, number],
    record: (g: Graph, input: Tensor) => Tensor, // [B, h, w, C] -> [B, h', w', C']
  ): TensorGraph {
    const [outB, outC, outH, outW] = shape;
    const storage = new Storage(this.#engine.device, name);
    const from = storage.reserve('f32', [b, c, h * w]);
    const to = storage.reserve('f32', [outB, outC, outH * outW]);
    const g = new Graph(name);
    const output = record(g, reshape(g.transpose(from, { dtype: this.#dtype }), [b, h, w, c]));
    g.transpose(reshape(output, [outB, outH * outW, outC]), { into: to });
    return { ...planned(g, storage), from, to, shape };
  }

  #recordRgb(h: number, w: number, size: Size, bandRows: number | undefined): RgbGraph {
    const g = new Graph('autoencoder decode');
    const storage = new Storage(this.#engine.device, 'picture');
    const from = storage.reserve('f32', [1, h, w, this.config.latentChannels]);
    const z = g.convert(from, { dtype: this.#dtype, scale: 1 / this.config.scalingFactor });
    const image = this.#decoder.record(g, z, { bandRows });
    const results = recordBytes(g, storage, image, size);
    return { ...planned(g, storage), from, ...results, bandRows: this.#pictureRows(bandRows) };
  }

  /** The end of `#recordRgb`, for a picture of h x w latents that was blended on the host. */
  #recordBlended(h: number, w: number, size: Size): RgbGraph {
    const [height, width] = [h * this.compression, w * this.compression];
    const g = new Graph('autoencoder blended');
    const storage = new Storage(this.#engine.device, 'picture');
    const from = storage.reserve('f32', [1, this.config.inChannels, height * width]);
    const image = reshape(g.transpose(from), [1, height, width, this.config.inChannels]);
    const results = recordBytes(g, storage, image, size);
    return { ...planned(g, storage), from, ...results };
  }

  #pictureRows(bandRows: number | undefined): number | undefined {
    return bandRows && bandRows * this.#decoder.tail.scale;
  }

  async #toRgb(graph: RgbGraph, input: Float32Array, signal: AbortSignal | undefined): Promise<Uint8Array> {
    const { device } = this.#engine;
    return await this.#runOn(graph, async () => {
      await write(device, graph.from, input);
      await this.#run(graph.plan, signal);
      const [count = 0] = new Int32Array(await read(device, graph.nonFinite));
      if (count > 0) {
        throw new SanaError('ERR_SANA_NUMERICS', `The autoencoder made ${count} NaN or infinite values`, {
          hint: "The weights are damaged, or overflow in this dtype: try dtype 'float32' or download the autoencoder again.",
        });
      }
      return new Uint8Array(await read(device, graph.rgb));
    });
  }

  /** Runs a model between two channels-first tensors on the host. */
  async #convert(graph: TensorGraph, input: TensorLike, signal: AbortSignal | undefined): Promise<TensorLike> {
    const { device } = this.#engine;
    return await this.#runOn(graph, async () => {
      await write(device, graph.from, input.data);
      await this.#run(graph.plan, signal);
      return { data: new Float32Array(await read(device, graph.to)), shape: graph.shape };
    });
  }

  /** Allocates what a graph needs while `body` runs it. */
  async #runOn<T>({ plan, storage }: Planned, body: () => Promise<T>): Promise<T> {
    const { arena } = this.#engine;
    this.#engine.demandMemory(
      storage.bytes + Math.max(0, plan.arenaBytes - arena.bytes),
      `The ${plan.name}`,
      "Free memory, request a smaller size, or load with offload: 'sequential'.",
    );
    storage.allocate();
    try {
      return await body();
    } finally {
      storage.dispose();
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

function planned(g: Graph, storage: Storage): Planned {
  const plan = g.plan();
  return { plan, storage, bytes: storage.bytes + plan.arenaBytes };
}

function programOf(name: string, runs: number, { plan, storage, bandRows }: Planned): PictureProgram {
  return { name, runs, plan, stateBytes: storage.bytes, bandRows };
}

/** The picture [1, H, W, 3] f32, resized and cropped to `size`, as bytes, and how many of its values are not finite. */
function recordBytes(g: Graph, storage: Storage, image: Tensor, size: Size): Pick<RgbGraph, 'rgb' | 'nonFinite'> {
  const { height, width } = size;
  const rgb = storage.reserve('u8', [1, height, width, 3]);
  const nonFinite = storage.reserve('i32', [1]);
  g.countNonFinite(image, nonFinite);
  const [, drawnHeight = 0, drawnWidth = 0] = image.shape;
  if (drawnHeight === height && drawnWidth === width) {
    g.toRgb8(image, rgb);
  } else {
    const { resizedHeight, resizedWidth } = resizeCropPlan(drawnHeight, drawnWidth, height, width);
    g.toRgb8(g.resizeCrop(image, { resizedHeight, resizedWidth, height, width }), rgb);
  }
  return { rgb, nonFinite };
}
