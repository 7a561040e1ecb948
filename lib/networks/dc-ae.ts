/**
 * The deep compression autoencoder (DC-AE f32c32, arXiv 2410.10733; diffusers' `AutoencoderDC`): 32 x 32 pixels to one
 * latent of 32 channels and back, deterministic both ways.
 *
 * Maps are [B, height, width, C]. Stages count from full resolution; the decoder walks them downwards. A first stage
 * without layers does not exist: the convolution next to the picture then halves or doubles, without a shortcut.
 */

import { SanaError } from '../base/errors.ts';
import type { AutoencoderConfig } from '../checkpoint/configs.ts';
import type { NativeDevice } from '../device/native.ts';
import type { Graph } from '../graph/graph.ts';
import type { Activation } from '../graph/operator.ts';
import { columns, columnsOf, reshape, type Tensor } from '../graph/tensor.ts';
import { haloOf, isLocal, type Layer, type LocalLayer, reaching, recordInBands, scaleOf } from './bands.ts';
import { type ActivationDtype, Weights } from './weights.ts';

const normEpsilon = 1e-5;
const attentionEpsilon = 1e-15;
const feedForwardExpansion = 4;
const multiScaleKernel = 5;

/** Called with each stage's name and output while recording, for comparisons with a reference. */
export type StageObserver = (name: string, output: Tensor) => void;

/** A part of one direction: its layers in order, under the checkpoint's name. */
interface Stage<L extends Layer = Layer> {
  readonly name: string;
  readonly layers: readonly L[];
}

/**
 * The decoder: a head, which ends with the last stage that attends over the whole map, and a tail of convolutions and
 * norms, which see a few rows and produce all of the large maps. The tail can be recorded band by band.
 */
export class AutoencoderDecoder {
  readonly weights: Weights;
  readonly #head: readonly Stage[];
  readonly #tail: readonly Stage<LocalLayer>[];

  constructor(device: NativeDevice, config: AutoencoderConfig, dtype: ActivationDtype) {
    const w = new Weights(device, 'autoencoder decoder', dtype);
    const widths = config.decoderBlockOutChannels;
    const deepest = widths.length - 1;
    const width = (stage: number) => widths[stage] ?? 0;
    const stages: Stage[] = [];

    stages.push({
      name: 'conv_in',
      layers: [
        convolution(w, 'decoder.conv_in', config.latentChannels, width(deepest), 'repeat', {
          shortcut: config.decoderInShortcut,
        }),
      ],
    });
    for (let stage = deepest; stage >= 0; stage--) {
      const path = `decoder.up_blocks.${stage}`;
      const depth = config.decoderLayersPerBlock[stage] ?? 0;
      if (depth === 0) continue;
      const layers: Layer[] = [];
      if (stage < deepest) {
        layers.push(upsampler(w, `${path}.0.conv`, width(stage + 1), width(stage), config.upsampleBlockType));
      }
      for (let i = 0; i < depth; i++) {
        layers.push(
          ...block(w, `${path}.${i + (stage < deepest ? 1 : 0)}`, width(stage), {
            type: config.decoderBlockTypes[stage],
            headDim: config.attentionHeadDim,
            multiscales: config.decoderQkvMultiscales[stage] ?? [],
            activation: config.decoderActFns[stage] ?? 'silu',
          }),
        );
      }
      stages.push({ name: `up_blocks.${stage}`, layers });
    }
    const half = config.decoderLayersPerBlock[0] === 0;
    const last = width(half ? 1 : 0);
    const norm = w.vector('decoder.norm_out.weight', last);
    const bias = w.vector('decoder.norm_out.bias', last);
    const activation = config.decoderConvActFn;
    stages.push({
      name: 'norm_out',
      layers: [
        {
          record: (g, x) => g.rmsNorm(x, norm, { epsilon: normEpsilon, bias, activation }),
          scale: 1,
          needs: reaching(0),
        },
      ],
    });
    // The last convolution outputs f32: bf16 would quantise the upper half of the range to 1/256.
    const result = { shortcut: false, dtype: 'f32' } as const;
    const out = half
      ? upsampler(w, 'decoder.conv_out.conv', last, config.inChannels, config.upsampleBlockType, result)
      : convolution(w, 'decoder.conv_out', last, config.inChannels, 'none', result);
    stages.push({ name: 'conv_out', layers: [out] });

    this.weights = w;
    const tail = stages.map(({ layers }) => layers.every(isLocal)).lastIndexOf(false) + 1;
    this.#head = stages.slice(0, tail);
    this.#tail = stages.slice(tail).map(({ name, layers }) => ({ name, layers: layers.filter(isLocal) }));
  }

  /**
   * The map that the tail begins with: the ratio of its rows to the latents', of the picture's rows to its own, and how
   * many rows beyond a band the band's pixels depend on.
   */
  get tail(): { readonly rowsPerLatent: number; readonly scale: number; readonly halo: number } {
    const layers = this.#tail.flatMap((stage) => stage.layers);
    return {
      rowsPerLatent: scaleOf(this.#head.flatMap((stage) => stage.layers)),
      scale: scaleOf(layers),
      halo: haloOf(layers),
    };
  }

  /**
   * latents / scaling factor [B, h, w, latentChannels] -> image [B, 32h, 32w, 3] f32, about [-1, 1], not clamped.
   *
   * With `bandRows`, the tail is recorded in bands of that many rows of the map it begins with, and the head's widest
   * layers in halves: the same image with less memory.
   */
  record(g: Graph, latents: Tensor, options: { bandRows?: number | undefined; observe?: StageObserver } = {}): Tensor {
    const { bandRows, observe } = options;
    if (bandRows === undefined) return run(g, [...this.#head, ...this.#tail], latents, { observe });
    const map = run(g, this.#head, latents, { observe, halves: true });
    const layers = this.#tail.flatMap((stage) => stage.layers.map((layer) => scoped(stage.name, layer)));
    return recordInBands(g, layers, map, bandRows);
  }
}

export class AutoencoderEncoder {
  readonly weights: Weights;
  readonly #stages: readonly Stage[];

  constructor(device: NativeDevice, config: AutoencoderConfig, dtype: ActivationDtype) {
    const w = new Weights(device, 'autoencoder encoder', dtype);
    const widths = config.encoderBlockOutChannels;
    const deepest = widths.length - 1;
    const width = (stage: number) => widths[stage] ?? 0;
    const stages: Stage[] = [];

    const shortcut = false;
    const conv =
      config.encoderLayersPerBlock[0] === 0
        ? downsampler(w, 'encoder.conv_in.conv', config.inChannels, width(1), config.downsampleBlockType, { shortcut })
        : convolution(w, 'encoder.conv_in', config.inChannels, width(0), 'none', { shortcut });
    stages.push({ name: 'conv_in', layers: [conv] });
    for (let stage = 0; stage <= deepest; stage++) {
      const path = `encoder.down_blocks.${stage}`;
      const depth = config.encoderLayersPerBlock[stage] ?? 0;
      if (depth === 0) continue;
      const layers: Layer[] = [];
      for (let i = 0; i < depth; i++) {
        layers.push(
          ...block(w, `${path}.${i}`, width(stage), {
            type: config.encoderBlockTypes[stage],
            headDim: config.attentionHeadDim,
            multiscales: config.encoderQkvMultiscales[stage] ?? [],
            activation: 'silu',
          }),
        );
      }
      if (stage < deepest) {
        const name = `${path}.${depth}.conv`;
        layers.push(downsampler(w, name, width(stage), width(stage + 1), config.downsampleBlockType));
      }
      stages.push({ name: `down_blocks.${stage}`, layers });
    }
    stages.push({
      name: 'conv_out',
      layers: [
        convolution(w, 'encoder.conv_out', width(deepest), config.latentChannels, 'average', {
          shortcut: config.encoderOutShortcut,
        }),
      ],
    });

    this.weights = w;
    this.#stages = stages;
  }

  /** image [B, H, W, 3] in [-1, 1], H and W multiples of 32 -> latents before scaling, [B, H/32, W/32, latentChannels]. */
  record(g: Graph, image: Tensor, options: { observe?: StageObserver } = {}): Tensor {
    return run(g, this.#stages, image, options);
  }
}

/** `halves`: wide layers are recorded on half of the map at a time. */
function run(
  g: Graph,
  stages: readonly Stage[],
  input: Tensor,
  { observe, halves = false }: { observe?: StageObserver | undefined; halves?: boolean } = {},
): Tensor {
  const record = (x: Tensor, layer: Layer): Tensor =>
    halves && layer.wide && isLocal(layer)
      ? recordInBands(g, [layer], x, Math.ceil((x.shape[1] ?? 0) / 2))
      : layer.record(g, x);
  return stages.reduce((x, { name, layers }) => {
    const output = g.scope(name, () => layers.reduce(record, x));
    observe?.(name, output);
    return output;
  }, input);
}

function scoped(name: string, layer: LocalLayer): LocalLayer {
  return { ...layer, record: (g, x) => g.scope(name, () => layer.record(g, x)) };
}

interface ShortcutOptions {
  readonly shortcut?: boolean; // added by default
  readonly dtype?: 'f32'; // the input's by default
}

/** A 3x3 convolution with bias, and a shortcut that repeats or averages channels to fit. */
function convolution(
  w: Weights,
  name: string,
  from: number,
  to: number,
  kind: 'none' | 'repeat' | 'average',
  { shortcut = true, ...result }: ShortcutOptions = {},
): Layer {
  const weight = w.conv2d(`${name}.weight`, to, from, 3);
  const bias = w.vector(`${name}.bias`, to);
  const record = (g: Graph, x: Tensor): Tensor => {
    if (!shortcut) return g.conv2d(x, weight, { bias, ...result });
    const residual = kind === 'repeat' ? g.pixelShuffle(x, 1, to) : g.pixelUnshuffle(x, 1, to);
    return g.conv2d(x, weight, { bias, residual, ...result });
  };
  return { record, scale: 1, needs: reaching(1) };
}

/** (h, w, from) -> (2h, 2w, to); the shortcut repeats channels and shuffles them to pixels. */
function upsampler(
  w: Weights,
  name: string,
  from: number,
  to: number,
  type: string,
  { shortcut = true, ...result }: ShortcutOptions = {},
): Layer {
  const residual = (g: Graph, x: Tensor) => (shortcut ? g.pixelShuffle(x, 2, to) : undefined);
  if (type === 'interpolate') {
    const weight = w.conv2d(`${name}.weight`, to, from, 3, 'upsampleConv2d');
    const bias = w.vector(`${name}.bias`, to);
    return {
      record: (g, x) => g.upsampleConv2d(x, weight, { bias, residual: residual(g, x), ...result }),
      scale: 2,
      needs: ({ first, end }) => ({ first: Math.floor((first - 1) / 2), end: Math.ceil((end + 1) / 2) }),
    };
  }
  const weight = w.conv2d(`${name}.weight`, 4 * to, from, 3);
  const bias = w.vector(`${name}.bias`, 4 * to);
  const record = (g: Graph, x: Tensor): Tensor => {
    const channels = g.conv2d(x, weight, { bias, ...result });
    return g.pixelShuffle(channels, 2, to, { residual: residual(g, x), ...result });
  };
  return {
    record,
    scale: 2,
    needs: ({ first, end }) => ({ first: Math.floor(first / 2) - 1, end: Math.ceil(end / 2) + 1 }),
  };
}

/** (2h, 2w, from) -> (h, w, to); the shortcut moves pixels to channels and averages groups of them. */
function downsampler(
  w: Weights,
  name: string,
  from: number,
  to: number,
  type: string,
  { shortcut = true }: ShortcutOptions = {},
): Layer {
  const residual = (g: Graph, x: Tensor) => (shortcut ? g.pixelUnshuffle(x, 2, to) : undefined);
  if (type === 'pixel_unshuffle') {
    const weight = w.conv2d(`${name}.weight`, to / 4, from, 3);
    const bias = w.vector(`${name}.bias`, to / 4);
    return {
      record: (g, x) => g.pixelUnshuffle(g.conv2d(x, weight, { bias }), 2, to, { residual: residual(g, x) }),
      scale: 1 / 2,
    };
  }
  const weight = w.conv2d(`${name}.weight`, to, from, 3);
  const bias = w.vector(`${name}.bias`, to);
  return { record: (g, x) => g.conv2d(x, weight, { bias, stride: 2, residual: residual(g, x) }), scale: 1 / 2 };
}

interface BlockOptions {
  readonly type: 'ResBlock' | 'EfficientViTBlock' | undefined;
  readonly headDim: number;
  readonly multiscales: readonly number[];
  readonly activation: Activation;
}

function block(w: Weights, path: string, c: number, options: BlockOptions): Layer[] {
  if (options.type === 'ResBlock') return [resBlock(w, path, c, options.activation)];
  return [multiScaleAttention(w, `${path}.attn`, c, options), glumbConv(w, `${path}.conv_out`, c)];
}

/** `rmsNorm(conv(act(conv(x)))) + x`. */
function resBlock(w: Weights, path: string, c: number, activation: Activation): Layer {
  const conv1 = w.conv2d(`${path}.conv1.weight`, c, c, 3);
  const conv1Bias = w.vector(`${path}.conv1.bias`, c);
  const conv2 = w.conv2d(`${path}.conv2.weight`, c, c, 3);
  const norm = w.vector(`${path}.norm.weight`, c);
  const bias = w.vector(`${path}.norm.bias`, c);
  const record = (g: Graph, x: Tensor): Tensor => {
    const hidden = g.conv2d(x, conv1, { bias: conv1Bias, activation }); // [B, height, width, C]
    return g.rmsNorm(g.conv2d(hidden, conv2), norm, { epsilon: normEpsilon, bias, residual: x });
  };
  return { record, scale: 1, needs: reaching(2) };
}

/**
 * ReLU linear attention over the map and, for every scale, over a locally aggregated copy of q, k and v. A head's q, k
 * and v are 3D consecutive channels of to_q | to_k | to_v: the tensors' names are misleading.
 */
function multiScaleAttention(w: Weights, path: string, c: number, options: BlockOptions): Layer {
  const { headDim, multiscales } = options;
  for (const size of multiscales) {
    if (size !== multiScaleKernel) {
      throw new SanaError('ERR_SANA_MODEL', `The autoencoder config asks for a ${size}x${size} attention scale`, {
        hint: `Only ${multiScaleKernel}x${multiScaleKernel} (qkv_multiscales [[5]]) is supported, as every released SANA has.`,
      });
    }
  }
  const scales = 1 + multiscales.length;
  const qkv = w.linear(
    ['q', 'k', 'v'].map((x) => `${path}.to_${x}.weight`),
    [c, c, c],
    c,
  ); // [3C, C]
  const aggregations = multiscales.map((size, i) => ({
    depthwise: w.depthwise(`${path}.to_qkv_multiscale.${i}.proj_in.weight`, 3 * c, size), // [3C, 5, 5]
    pointwise: w.table(`${path}.to_qkv_multiscale.${i}.proj_out.weight`, [3 * c, headDim], [3 * c, headDim, 1, 1]),
  }));
  const out = w.linear([`${path}.to_out.weight`], [c], scales * c); // [C, scales * C]
  const norm = w.vector(`${path}.norm_out.weight`, c);
  const bias = w.vector(`${path}.norm_out.bias`, c);
  const record = (g: Graph, x: Tensor): Tensor => {
    const [b = 0, height = 0, width = 0] = x.shape;
    const all = g.empty(x.dtype, [b, height, width, scales * 3 * c]);
    const first = g.linear(x, qkv, { into: columns(all, 0, 3 * c) });
    aggregations.forEach(({ depthwise, pointwise }, i) => {
      g.multiScaleProject(first, depthwise, pointwise, { into: columns(all, (i + 1) * 3 * c, 3 * c) });
    });
    const tokens = reshape(all, [b, height * width, columnsOf(all)]);
    const attended = g.linearAttention(tokens, { headDim, order: 'interleaved', epsilon: attentionEpsilon });
    const projected = g.linear(reshape(attended, [b, height, width, columnsOf(attended)]), out); // [B, height, width, C]
    return g.rmsNorm(projected, norm, { epsilon: normEpsilon, bias, residual: x });
  };
  return { record, scale: 1 };
}

/** `rmsNorm(point(glu(depth(silu(inverted(x)))))) + x`. */
function glumbConv(w: Weights, path: string, c: number): Layer {
  const f = feedForwardExpansion * c;
  const inverted = w.linear([`${path}.conv_inverted.weight`], [2 * f], c, { convolution: true });
  const invertedBias = w.vector(`${path}.conv_inverted.bias`, 2 * f);
  const depth = w.depthwise(`${path}.conv_depth.weight`, 2 * f, 3);
  const depthBias = w.vector(`${path}.conv_depth.bias`, 2 * f);
  const point = w.linear([`${path}.conv_point.weight`], [c], f, { convolution: true });
  const norm = w.vector(`${path}.norm.weight`, c);
  const bias = w.vector(`${path}.norm.bias`, c);
  const record = (g: Graph, x: Tensor): Tensor => {
    const expanded = g.linear(x, inverted, { bias: invertedBias, activation: 'silu' }); // [B, height, width, 8C]
    const gated = g.depthwiseConvGlu(expanded, depth, depthBias); // [B, height, width, 4C]
    return g.rmsNorm(g.linear(gated, point), norm, { epsilon: normEpsilon, bias, residual: x });
  };
  return { record, scale: 1, needs: reaching(1), wide: true };
}
