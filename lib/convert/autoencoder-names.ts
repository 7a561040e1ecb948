/**
 * DC-AE f32c32: the names of efficientvit (mit-han-lab/efficientvit, efficientvit/models/efficientvit/dc_ae.py) and
 * those of diffusers' `AutoencoderDC`, paired as in its `convert_autoencoder_dc_checkpoint_to_diffusers`.
 *
 * Of efficientvit's family, the kind that SANA uses is supported: residual blocks and multi-scale linear attention,
 * strided convolutions for downsampling, enlarged maps for upsampling, full resolution in the first stage. C is the
 * number of channels of a stage.
 */

import type { JsonObject } from '../base/json.ts';
import { parseAutoencoderConfig } from '../checkpoint/configs.ts';
import { type Layout, type Move, rename, renameBoth, type Shapes, split } from './official-layout.ts';

/** The scaling factor of both released sets of weights, sana-1.0 and sana-1.1; it is in no tensor. */
const SCALING_FACTOR = 0.41407;
const LIMITS = { stages: 16, blocks: 64, scales: 4 } as const;

export function autoencoderLayout(shapes: Shapes, path: string): Layout {
  const encoder = readStages(shapes, 'encoder');
  const decoder = readStages(shapes, 'decoder');
  const imageChannels = shapes.size('encoder.project_in.conv.weight', 4, 1);
  const latentChannels = shapes.size('decoder.project_in.main.conv.weight', 4, 1);
  const first = decoder[0]?.channels ?? 0;
  const scales = [...encoder, ...decoder].flatMap((stage) => stage.scales);
  const config: JsonObject = {
    _class_name: 'AutoencoderDC',
    attention_head_dim: scales[0]?.headDim ?? 32,
    decoder_act_fns: 'silu',
    decoder_conv_act_fn: 'relu',
    decoder_in_shortcut: true,
    decoder_norm_types: 'rms_norm',
    ...stageConfig('decoder', decoder),
    downsample_block_type: 'Conv',
    encoder_out_shortcut: true,
    ...stageConfig('encoder', encoder),
    in_channels: imageChannels,
    latent_channels: latentChannels,
    scaling_factor: SCALING_FACTOR,
    upsample_block_type: 'interpolate',
  };
  parseAutoencoderConfig(config, path); // what fails here would not load
  return {
    component: 'vae',
    config,
    moves: [
      ...renameBoth('encoder.project_in.conv', 'encoder.conv_in', [encoder[0]?.channels ?? 0, imageChannels, 3, 3]),
      ...encoder.flatMap((stage, i) => encoderStage(stage, i, encoder[i + 1]?.channels)),
      ...renameBoth('encoder.project_out.main.op_list.0.conv', 'encoder.conv_out', [
        latentChannels,
        encoder.at(-1)?.channels ?? 0,
        3,
        3,
      ]),
      ...renameBoth('decoder.project_in.main.conv', 'decoder.conv_in', [
        decoder.at(-1)?.channels ?? 0,
        latentChannels,
        3,
        3,
      ]),
      ...decoder.flatMap((stage, i) => decoderStage(stage, i, decoder[i + 1]?.channels)),
      ...renameBoth('decoder.project_out.op_list.0', 'decoder.norm_out', [first]),
      ...renameBoth('decoder.project_out.op_list.2.conv', 'decoder.conv_out', [imageChannels, first, 3, 3]),
    ],
    dropped: [],
  };
}

interface Stage {
  readonly attends: boolean;
  readonly channels: number; // C
  readonly blocks: number;
  readonly scales: readonly { readonly kernel: number; readonly headDim: number }[];
}

/** The stages of one side, the one at full resolution first. All blocks of a stage are of one kind. */
function readStages(shapes: Shapes, side: 'encoder' | 'decoder'): Stage[] {
  const count = shapes.count(`${side}.stages`, LIMITS.stages);
  return Array.from({ length: count }, (_, i) => {
    const list = `${side}.stages.${i}.op_list`;
    // Between two stages is a convolution: last in the encoder's stages, first in the decoder's.
    const resamplers = i < count - 1 ? 1 : 0;
    const first = `${list}.${side === 'decoder' ? resamplers : 0}`;
    const attends = shapes.has(`${first}.context_module.main.qkv.conv.weight`);
    const channels = attends
      ? shapes.size(`${first}.context_module.main.qkv.conv.weight`, 4, 1)
      : shapes.size(`${first}.main.conv1.conv.weight`, 4, 0);
    const aggregations = attends ? shapes.count(`${first}.context_module.main.aggreg`, LIMITS.scales) : 0;
    return {
      attends,
      channels,
      blocks: shapes.count(list, LIMITS.blocks) - resamplers,
      scales: Array.from({ length: aggregations }, (_, scale) => ({
        kernel: shapes.size(`${first}.context_module.main.aggreg.${scale}.0.weight`, 4, 2),
        headDim: shapes.size(`${first}.context_module.main.aggreg.${scale}.1.weight`, 4, 1),
      })),
    };
  });
}

function stageConfig(side: 'encoder' | 'decoder', stages: readonly Stage[]): JsonObject {
  return {
    [`${side}_block_out_channels`]: stages.map(({ channels }) => channels),
    [`${side}_block_types`]: stages.map(({ attends }) => (attends ? 'EfficientViTBlock' : 'ResBlock')),
    [`${side}_layers_per_block`]: stages.map(({ blocks }) => blocks),
    [`${side}_qkv_multiscales`]: stages.map(({ scales }) => scales.map(({ kernel }) => kernel)),
  };
}

function encoderStage(stage: Stage, i: number, next: number | undefined): Move[] {
  const [from, to] = [`encoder.stages.${i}.op_list`, `encoder.down_blocks.${i}`];
  const { channels: C, blocks } = stage;
  const down =
    next === undefined ? [] : renameBoth(`${from}.${blocks}.main.conv`, `${to}.${blocks}.conv`, [next, C, 3, 3]);
  return [...stageBlocks(stage, from, to, 0), ...down];
}

function decoderStage(stage: Stage, i: number, deeper: number | undefined): Move[] {
  const [from, to] = [`decoder.stages.${i}.op_list`, `decoder.up_blocks.${i}`];
  if (deeper === undefined) return stageBlocks(stage, from, to, 0);
  const up = renameBoth(`${from}.0.main.conv.conv`, `${to}.0.conv`, [stage.channels, deeper, 3, 3]);
  return [...up, ...stageBlocks(stage, from, to, 1)];
}

function stageBlocks(stage: Stage, from: string, to: string, first: number): Move[] {
  const block = stage.attends ? attentionBlock : residualBlock;
  return Array.from({ length: stage.blocks }, (_, i) =>
    block(`${from}.${first + i}`, `${to}.${first + i}`, stage),
  ).flat();
}

function residualBlock(from: string, to: string, { channels: C }: Stage): Move[] {
  return [
    ...renameBoth(`${from}.main.conv1.conv`, `${to}.conv1`, [C, C, 3, 3]),
    rename(`${from}.main.conv2.conv.weight`, `${to}.conv2.weight`, [C, C, 3, 3]),
    ...renameBoth(`${from}.main.conv2.norm`, `${to}.norm`, [C]),
  ];
}

function attentionBlock(from: string, to: string, { channels: C, scales }: Stage): Move[] {
  const attention = `${from}.context_module.main`;
  const feedForward = `${from}.local_module.main`;
  const wide = (scales.length + 1) * C; // the attention's output: one part from each scale
  return [
    split(
      `${attention}.qkv.conv.weight`,
      ['q', 'k', 'v'].map((x) => `${to}.attn.to_${x}.weight`),
      C,
      C,
      1,
      1,
    ),
    ...scales.flatMap(({ kernel, headDim }, i) => [
      rename(`${attention}.aggreg.${i}.0.weight`, `${to}.attn.to_qkv_multiscale.${i}.proj_in.weight`, [
        3 * C,
        1,
        kernel,
        kernel,
      ]),
      rename(`${attention}.aggreg.${i}.1.weight`, `${to}.attn.to_qkv_multiscale.${i}.proj_out.weight`, [
        3 * C,
        headDim,
        1,
        1,
      ]),
    ]),
    rename(`${attention}.proj.conv.weight`, `${to}.attn.to_out.weight`, [C, wide, 1, 1], [C, wide]),
    ...renameBoth(`${attention}.proj.norm`, `${to}.attn.norm_out`, [C]),
    ...renameBoth(`${feedForward}.inverted_conv.conv`, `${to}.conv_out.conv_inverted`, [8 * C, C, 1, 1]),
    ...renameBoth(`${feedForward}.depth_conv.conv`, `${to}.conv_out.conv_depth`, [8 * C, 1, 3, 3]),
    rename(`${feedForward}.point_conv.conv.weight`, `${to}.conv_out.conv_point.weight`, [C, 4 * C, 1, 1]),
    ...renameBoth(`${feedForward}.point_conv.norm`, `${to}.conv_out.norm`, [C]),
  ];
}
