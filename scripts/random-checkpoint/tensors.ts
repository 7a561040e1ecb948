/**
 * Names, shapes and scales of every tensor of a SANA checkpoint, from its configs.
 *
 * A scale is chosen so that activations keep about unit size through the whole depth: a matrix multiplies the size of
 * its input by `gain` (standard deviation gain / sqrt(fan in)), and what a block adds to its residual is a fraction of
 * one. Text, time step and image all change the result. Only sizes and costs are those of trained weights.
 */

import type { ControlNetConfig, TextEncoderConfig, TransformerConfig, VaeConfig } from './configs.ts';

/** One tensor: its values are drawn from a normal distribution. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean: number;
  readonly std: number;
}

export function elementCount(tensor: TensorSpec): number {
  return tensor.shape.reduce((product, size) => product * size, 1);
}

export function parameterCount(tensors: readonly TensorSpec[]): number {
  return tensors.reduce((sum, tensor) => sum + elementCount(tensor), 0);
}

/** A matrix or convolution [out, in, ...] that multiplies the size of its input by `gain`. */
function weight(name: string, shape: readonly number[], gain = 1): TensorSpec {
  const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
  return { name: `${name}.weight`, shape, mean: 0, std: gain / Math.sqrt(fanIn) };
}

function bias(name: string, size: number, std = 0.1): TensorSpec {
  return { name: `${name}.bias`, shape: [size], mean: 0, std };
}

function norm(name: string, size: number, mean: number, std = 0.1 * mean): TensorSpec {
  return { name: `${name}.weight`, shape: [size], mean, std };
}

function biased(name: string, shape: readonly [number, ...number[]], gain = 1): TensorSpec[] {
  return [weight(name, shape, gain), bias(name, shape[0])];
}

/** Gemma-2 without its head: names as `Gemma2Model` saves them. */
export function textEncoderTensors(config: TextEncoderConfig): TensorSpec[] {
  const { hidden_size: C, intermediate_size: F, num_hidden_layers: layers } = config;
  const Q = config.num_attention_heads * config.head_dim;
  const KV = config.num_key_value_heads * config.head_dim;
  const zeroCentred = (name: string, mean = 0): TensorSpec => ({ name: `${name}.weight`, shape: [C], mean, std: 0.1 });
  return [
    // The model multiplies embeddings by sqrt(C), which brings them to unit size.
    { name: 'embed_tokens.weight', shape: [config.vocab_size, C], mean: 0, std: 1 / Math.sqrt(C) },
    ...range(layers).flatMap((i) => {
      const at = `layers.${i}`;
      return [
        weight(`${at}.self_attn.q_proj`, [Q, C], 1.4),
        weight(`${at}.self_attn.k_proj`, [KV, C], 1.4),
        weight(`${at}.self_attn.v_proj`, [KV, C]),
        weight(`${at}.self_attn.o_proj`, [C, Q]),
        weight(`${at}.mlp.gate_proj`, [F, C]),
        weight(`${at}.mlp.up_proj`, [F, C]),
        weight(`${at}.mlp.down_proj`, [C, F]),
        zeroCentred(`${at}.input_layernorm`),
        zeroCentred(`${at}.pre_feedforward_layernorm`),
        // The post-norms set what a branch adds to the residual: 1 + weight = 0.4.
        zeroCentred(`${at}.post_attention_layernorm`, -0.6),
        zeroCentred(`${at}.post_feedforward_layernorm`, -0.6),
      ];
    }),
    zeroCentred('norm'),
  ];
}

/** The linear diffusion transformer. */
export function transformerTensors(config: TransformerConfig): TensorSpec[] {
  const D = widthOf(config);
  const p = config.patch_size;
  return [
    ...embeddingTensors(config, config.guidance_embeds),
    ...blockTensors(config, config.qk_norm !== null),
    scaleShiftTable('scale_shift_table', 2, D),
    ...biased('proj_out', [p * p * config.out_channels, D], 0.5),
  ];
}

/** A ControlNet: embeddings and blocks like the transformer's, and the layers that add their outputs to it. */
export function controlnetTensors(config: ControlNetConfig): TensorSpec[] {
  const D = widthOf(config);
  return [
    ...embeddingTensors(config, false),
    ...blockTensors(config, false),
    ...biased('input_block', [D, D]),
    ...range(config.num_layers).flatMap((i) => biased(`controlnet_blocks.${i}`, [D, D], 0.5)),
  ];
}

/** The caption norm's weight is small (the paper starts it at 0.01); the text keys and values compensate for it. */
const kCaptionScale = 0.1;

function widthOf(config: ControlNetConfig): number {
  return config.num_attention_heads * config.attention_head_dim;
}

function scaleShiftTable(name: string, rows: number, D: number): TensorSpec {
  return { name, shape: [rows, D], mean: 0, std: 0.2 };
}

function embeddingTensors(config: ControlNetConfig, guided: boolean): TensorSpec[] {
  const D = widthOf(config);
  const p = config.patch_size;
  const embedder = (name: string, gain: number): TensorSpec[] => [
    ...biased(`time_embed.${name}.linear_1`, [D, 256], 1.1),
    ...biased(`time_embed.${name}.linear_2`, [D, D], gain),
  ];
  return [
    ...biased('patch_embed.proj', [D, config.in_channels, p, p]),
    // A guided model adds two of them: scaled so that the sum has the size of one.
    ...(guided
      ? [...embedder('timestep_embedder', 0.9), ...embedder('guidance_embedder', 0.9)]
      : embedder('emb.timestep_embedder', 1.3)),
    ...biased('time_embed.linear', [6 * D, D], 0.4),
    ...biased('caption_projection.linear_1', [D, config.caption_channels], 1.4),
    ...biased('caption_projection.linear_2', [D, D], 1.4),
    norm('caption_norm', D, kCaptionScale, 0.2 * kCaptionScale),
  ];
}

function blockTensors(config: ControlNetConfig, normed: boolean): TensorSpec[] {
  const D = widthOf(config);
  const F = Math.floor(config.mlp_ratio * D);
  return range(config.num_layers).flatMap((i) => {
    const at = `transformer_blocks.${i}`;
    const norms = (attention: string): TensorSpec[] =>
      normed ? [norm(`${at}.${attention}.norm_q`, D, 1), norm(`${at}.${attention}.norm_k`, D, 1)] : [];
    return [
      scaleShiftTable(`${at}.scale_shift_table`, 6, D),
      weight(`${at}.attn1.to_q`, [D, D]),
      weight(`${at}.attn1.to_k`, [D, D]),
      weight(`${at}.attn1.to_v`, [D, D], 1.6),
      ...norms('attn1'),
      ...biased(`${at}.attn1.to_out.0`, [D, D]),
      ...biased(`${at}.attn2.to_q`, [D, D], 0.5),
      ...biased(`${at}.attn2.to_k`, [D, D], 1 / kCaptionScale),
      ...biased(`${at}.attn2.to_v`, [D, D], 1 / kCaptionScale),
      ...norms('attn2'),
      ...biased(`${at}.attn2.to_out.0`, [D, D], 0.2),
      ...biased(`${at}.ff.conv_inverted`, [2 * F, D, 1, 1]),
      ...biased(`${at}.ff.conv_depth`, [2 * F, 1, 3, 3], 1.6),
      weight(`${at}.ff.conv_point`, [D, F, 1, 1], 2),
    ];
  });
}

/** The DC-AE decoder and encoder. */
export function vaeTensors(config: VaeConfig): TensorSpec[] {
  return [...decoderTensors(config), ...encoderTensors(config)];
}

export function decoderTensors(config: VaeConfig): TensorSpec[] {
  const channels = config.decoder_block_out_channels;
  const last = channels.length - 1;
  const half = at(config.decoder_layers_per_block, 0) === 0; // the first stage is left to the last convolution
  const [first, deepest] = [at(channels, half ? 1 : 0), at(channels, last)];
  return [
    ...biased('decoder.conv_in', [deepest, config.latent_channels, 3, 3], 0.6),
    ...range(channels.length).flatMap((stage) => {
      if (stage === 0 && half) return [];
      const C = at(channels, stage);
      const upsamplers = stage < last ? 1 : 0; // index 0 of every stage but the deepest
      const blocks = range(at(config.decoder_layers_per_block, stage)).flatMap((i) =>
        vaeBlock(`decoder.up_blocks.${stage}.${upsamplers + i}`, at(config.decoder_block_types, stage), C),
      );
      if (upsamplers === 0) return blocks;
      return [...biased(`decoder.up_blocks.${stage}.0.conv`, [C, at(channels, stage + 1), 3, 3], 0.4), ...blocks];
    }),
    norm('decoder.norm_out', first, 1),
    bias('decoder.norm_out', first),
    ...biased(half ? 'decoder.conv_out.conv' : 'decoder.conv_out', [config.in_channels, first, 3, 3], kImageGain),
  ];
}

export function encoderTensors(config: VaeConfig): TensorSpec[] {
  const channels = config.encoder_block_out_channels;
  const last = channels.length - 1;
  const half = at(config.encoder_layers_per_block, 0) === 0;
  return [
    ...biased(half ? 'encoder.conv_in.conv' : 'encoder.conv_in', [
      at(channels, half ? 1 : 0),
      config.in_channels,
      3,
      3,
    ]),
    ...range(channels.length).flatMap((stage) => {
      if (stage === 0 && half) return [];
      const C = at(channels, stage);
      const layers = at(config.encoder_layers_per_block, stage);
      const blocks = range(layers).flatMap((i) =>
        vaeBlock(`encoder.down_blocks.${stage}.${i}`, at(config.encoder_block_types, stage), C),
      );
      if (stage === last) return blocks;
      return [
        ...blocks,
        ...biased(`encoder.down_blocks.${stage}.${layers}.conv`, [at(channels, stage + 1), C, 3, 3], 0.4),
      ];
    }),
    ...biased('encoder.conv_out', [config.latent_channels, at(channels, last), 3, 3]),
  ];
}

/** Gain of the last convolution: with seed 0, 1 to 2 % of decoded values are outside [-1, 1], fewer with most seeds. */
const kImageGain = 0.45;

/** What a block's branches add to the residual, set by the norm at their end. */
const kBranchScale = 1;

function vaeBlock(name: string, type: 'ResBlock' | 'EfficientViTBlock', C: number): TensorSpec[] {
  if (type === 'ResBlock') {
    return [
      ...biased(`${name}.conv1`, [C, C, 3, 3]),
      weight(`${name}.conv2`, [C, C, 3, 3]),
      norm(`${name}.norm`, C, kBranchScale),
      bias(`${name}.norm`, C),
    ];
  }
  return [
    weight(`${name}.attn.to_q`, [C, C]),
    weight(`${name}.attn.to_k`, [C, C]),
    weight(`${name}.attn.to_v`, [C, C]),
    weight(`${name}.attn.to_qkv_multiscale.0.proj_in`, [3 * C, 1, 5, 5]),
    weight(`${name}.attn.to_qkv_multiscale.0.proj_out`, [3 * C, 32, 1, 1]),
    weight(`${name}.attn.to_out`, [C, 2 * C]),
    norm(`${name}.attn.norm_out`, C, kBranchScale),
    bias(`${name}.attn.norm_out`, C),
    ...biased(`${name}.conv_out.conv_inverted`, [8 * C, C, 1, 1]),
    ...biased(`${name}.conv_out.conv_depth`, [8 * C, 1, 3, 3]),
    weight(`${name}.conv_out.conv_point`, [C, 4 * C, 1, 1]),
    norm(`${name}.conv_out.norm`, C, kBranchScale),
    bias(`${name}.conv_out.norm`, C),
  ];
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function at<T>(list: readonly T[], index: number): T {
  const value = list[index];
  if (value === undefined) throw new RangeError(`the config gives ${list.length} stages, stage ${index} was needed`);
  return value;
}
