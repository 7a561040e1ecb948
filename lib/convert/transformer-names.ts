/**
 * The linear diffusion transformer and its ControlNet: the names of the official repository (NVlabs/Sana,
 * diffusion/model/nets/sana_multi_scale.py and sana_multi_scale_controlnet.py) and those of diffusers
 * (`SanaTransformer2DModel`, `SanaControlNetModel`), paired as in diffusers' scripts/convert_sana_to_diffusers.py.
 *
 * Sizes: D channels, F hidden channels of the feed-forward, T channels of a caption, p the patch size.
 */

import type { JsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import { parseControlNetConfig, parseTransformerConfig } from '../checkpoint/configs.ts';
import { findImageSize, type ImageSize, INTERPOLATION_SCALES, LATENT_PIXELS } from './image-size.ts';
import { type Layout, type Move, rename, renameBoth, type Shapes, split } from './official-layout.ts';

const HEAD_DIM = 32; // of the linear attention, in every release
const MAX_LAYERS = 512;

/** Cross-attention heads cannot be derived from a shape: they are known for the released widths. */
const CROSS_HEADS: ReadonlyMap<number, number> = new Map([
  [1152, 16],
  [2240, 20],
]);

export interface TransformerChoices {
  readonly imageSize: ImageSize | undefined;
  readonly crossAttentionHeads: number | undefined;
}

export function transformerLayout(shapes: Shapes, choices: TransformerChoices, path: string): Layout {
  const sizes = readSizes(shapes, 'blocks', choices, path);
  const { width: D, patched } = sizes;
  const outputs = shapes.size('final_layer.linear.weight', 2, 0);
  const guided = shapes.has('cfg_embedder.mlp.0.weight');
  const time = guided ? 'time_embed.timestep_embedder' : 'time_embed.emb.timestep_embedder';
  const config: JsonObject = {
    _class_name: 'SanaTransformer2DModel',
    ...commonConfig(sizes, outputs / patched),
    guidance_embeds: guided,
    guidance_embeds_scale: 0.1,
    qk_norm: sizes.qkNorm ? 'rms_norm_across_heads' : null,
    timestep_scale: 1,
  };
  parseTransformerConfig(config, path); // what fails here would not load
  return {
    component: 'transformer',
    config,
    moves: [
      ...embedders(sizes, time),
      ...(guided ? mlp('cfg_embedder', 'time_embed.guidance_embedder', D) : []),
      ...blocks('blocks', sizes),
      ...renameBoth('final_layer.linear', 'proj_out', [outputs, D]),
      rename('final_layer.scale_shift_table', 'scale_shift_table', [2, D]),
    ],
    dropped: NOT_NEEDED,
  };
}

export function controlNetLayout(shapes: Shapes, choices: TransformerChoices, path: string): Layout {
  const sizes = readSizes(shapes, 'controlnet', choices, path);
  const { width: D, layers, inChannels } = sizes;
  const config: JsonObject = { _class_name: 'SanaControlNetModel', ...commonConfig(sizes, inChannels) };
  parseControlNetConfig(config, path);
  return {
    component: 'controlnet',
    config,
    moves: [
      ...embedders(sizes, 'time_embed.emb.timestep_embedder'),
      ...blocks('controlnet', sizes),
      ...renameBoth('controlnet.0.before_proj', 'input_block', [D, D]),
      ...range(layers).flatMap((i) => renameBoth(`controlnet.${i}.after_proj`, `controlnet_blocks.${i}`, [D, D])),
    ],
    // The file also contains the frozen transformer, which a pipeline already has.
    dropped: [...NOT_NEEDED, /^blocks\.\d+\./, /^final_layer\./],
  };
}

/** The empty prompt's embedding, the position table, which is computed, and a head that only training uses. */
const NOT_NEEDED = [/^y_embedder\.y_embedding$/, /^pos_embed$/, /^logvar_linear\.(weight|bias)$/];

interface Sizes {
  readonly width: number; // D
  readonly inChannels: number;
  readonly patch: number; // p
  readonly patched: number; // p x p
  readonly layers: number;
  readonly hidden: number; // F
  readonly captionChannels: number; // T
  readonly crossHeads: number;
  readonly qkNorm: boolean;
  readonly imageSize: ImageSize;
}

/** `list` names the blocks: `blocks`, or `controlnet`, whose blocks are copies. */
function readSizes(shapes: Shapes, list: BlockList, choices: TransformerChoices, path: string): Sizes {
  const [width, inChannels, patch] = shapes.of('x_embedder.proj.weight', 4) as [number, number, number, number];
  const crossHeads = choices.crossAttentionHeads ?? CROSS_HEADS.get(width);
  if (width % HEAD_DIM !== 0) throw modelError(path, `has ${width} channels, which is not a multiple of ${HEAD_DIM}`);
  if (crossHeads === undefined || width % crossHeads !== 0) {
    throw modelError(
      path,
      `has ${width} channels, and ${
        crossHeads === undefined
          ? 'the number of cross-attention heads cannot be derived from a tensor'
          : `${crossHeads} cross-attention heads do not divide them`
      }`,
      'Pass the `num_heads` of the model in the official code with --cross-attention-heads.',
    );
  }
  const posEmbed = shapes.has('pos_embed') ? shapes.of('pos_embed', 3) : undefined;
  return {
    width,
    inChannels,
    patch,
    patched: patch * patch,
    layers: shapes.count(list, MAX_LAYERS),
    hidden: shapes.size(`${blockPath(list, 0)}.mlp.inverted_conv.conv.weight`, 4, 0) / 2,
    captionChannels: shapes.size('y_embedder.y_proj.fc1.weight', 2, 1),
    crossHeads,
    qkNorm: shapes.has(`${blockPath(list, 0)}.attn.q_norm.weight`),
    imageSize: findImageSize(choices.imageSize, posEmbed, patch, path),
  };
}

function commonConfig(sizes: Sizes, outChannels: number): JsonObject {
  const { width, patch, crossHeads, imageSize } = sizes;
  return {
    attention_bias: false,
    attention_head_dim: HEAD_DIM,
    caption_channels: sizes.captionChannels,
    cross_attention_dim: width,
    cross_attention_head_dim: width / crossHeads,
    dropout: 0,
    in_channels: sizes.inChannels,
    interpolation_scale: INTERPOLATION_SCALES[imageSize],
    mlp_ratio: mlpRatio(sizes.hidden, width),
    norm_elementwise_affine: false,
    norm_eps: 1e-6,
    num_attention_heads: width / HEAD_DIM,
    num_cross_attention_heads: crossHeads,
    num_layers: sizes.layers,
    out_channels: outChannels,
    patch_size: patch,
    sample_size: imageSize / LATENT_PIXELS,
  };
}

/** The ratio whose product with the width, rounded down, is the hidden width. */
function mlpRatio(hidden: number, width: number): number {
  const ratio = hidden / width;
  return Math.trunc(ratio * width) === hidden ? ratio : (hidden + 0.5) / width;
}

/** Patches, caption, time: everything before the blocks. */
function embedders({ width: D, inChannels, patch, captionChannels: T }: Sizes, time: string): Move[] {
  return [
    ...renameBoth('x_embedder.proj', 'patch_embed.proj', [D, inChannels, patch, patch]),
    ...renameBoth('y_embedder.y_proj.fc1', 'caption_projection.linear_1', [D, T]),
    ...renameBoth('y_embedder.y_proj.fc2', 'caption_projection.linear_2', [D, D]),
    rename('attention_y_norm.weight', 'caption_norm.weight', [D]),
    ...mlp('t_embedder', time, D),
    ...renameBoth('t_block.1', 'time_embed.linear', [6 * D, D]),
  ];
}

/** Sines and cosines of a number, 256 of them, to D channels. */
function mlp(from: string, to: string, D: number): Move[] {
  return [
    ...renameBoth(`${from}.mlp.0`, `${to}.linear_1`, [D, 256]),
    ...renameBoth(`${from}.mlp.2`, `${to}.linear_2`, [D, D]),
  ];
}

type BlockList = 'blocks' | 'controlnet';

function blockPath(list: BlockList, i: number): string {
  return list === 'blocks' ? `blocks.${i}` : `controlnet.${i}.copied_block`;
}

function blocks(list: BlockList, sizes: Sizes): Move[] {
  return range(sizes.layers).flatMap((i) => block(blockPath(list, i), `transformer_blocks.${i}`, sizes));
}

function block(from: string, to: string, { width: D, hidden: F, qkNorm }: Sizes): Move[] {
  const norms = (attention: string, attn: string) =>
    qkNorm
      ? [
          rename(`${from}.${attention}.q_norm.weight`, `${to}.${attn}.norm_q.weight`, [D]),
          rename(`${from}.${attention}.k_norm.weight`, `${to}.${attn}.norm_k.weight`, [D]),
        ]
      : [];
  const named = (attn: string, names: string, kind: string) =>
    [...names].map((name) => `${to}.${attn}.to_${name}.${kind}`);
  return [
    rename(`${from}.scale_shift_table`, `${to}.scale_shift_table`, [6, D]),
    split(`${from}.attn.qkv.weight`, named('attn1', 'qkv', 'weight'), D, D),
    ...norms('attn', 'attn1'),
    ...renameBoth(`${from}.attn.proj`, `${to}.attn1.to_out.0`, [D, D]),
    ...renameBoth(`${from}.cross_attn.q_linear`, `${to}.attn2.to_q`, [D, D]),
    split(`${from}.cross_attn.kv_linear.weight`, named('attn2', 'kv', 'weight'), D, D),
    split(`${from}.cross_attn.kv_linear.bias`, named('attn2', 'kv', 'bias'), D),
    ...norms('cross_attn', 'attn2'),
    ...renameBoth(`${from}.cross_attn.proj`, `${to}.attn2.to_out.0`, [D, D]),
    ...renameBoth(`${from}.mlp.inverted_conv.conv`, `${to}.ff.conv_inverted`, [2 * F, D, 1, 1]),
    ...renameBoth(`${from}.mlp.depth_conv.conv`, `${to}.ff.conv_depth`, [2 * F, 1, 3, 3]),
    rename(`${from}.mlp.point_conv.conv.weight`, `${to}.ff.conv_point.weight`, [D, F, 1, 1]),
  ];
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}
