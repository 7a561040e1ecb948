/**
 * The configuration files of a checkpoint: typed, with the defaults of the reference's classes, and checked. Every
 * integer is limited here, before anything is allocated for it. Other keys are ignored.
 */

import type { JsonObject, JsonValue } from '../base/json.ts';
import { SCHEDULER_CLASSES, type SchedulerConfig } from '../schedulers/config.ts';
import { ConfigReader } from './config-reader.ts';

const MAX_WIDTH = 65536; // channels of anything: thirty times the largest release
const OTHER_SIGMAS = ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas', 'use_dynamic_shifting'];

/** `transformer/config.json` (`SanaTransformer2DModel`) and `controlnet/config.json` (`SanaControlNetModel`). */
export interface TransformerConfig {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly numAttentionHeads: number;
  readonly attentionHeadDim: number;
  readonly numLayers: number;
  readonly numCrossAttentionHeads: number;
  readonly crossAttentionHeadDim: number;
  readonly crossAttentionDim: number; // equals numAttentionHeads x attentionHeadDim
  readonly captionChannels: number;
  readonly mlpRatio: number;
  readonly sampleSize: number; // latent pixels per side of the native resolution
  readonly patchSize: number;
  readonly normEps: number;
  readonly interpolationScale: number | null; // null: no position embedding
  readonly guidanceEmbeds: boolean;
  readonly guidanceEmbedsScale: number;
  readonly qkNorm: 'rms_norm_across_heads' | null;
  readonly timestepScale: number;
}

export type GemmaLayerType = 'sliding_attention' | 'full_attention';

/** `text_encoder/config.json` (`Gemma2Model`). */
export interface Gemma2Config {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly hiddenActivation: 'gelu_pytorch_tanh';
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly queryPreAttnScalar: number;
  readonly slidingWindow: number;
  readonly attnLogitSoftcapping: number; // 0: none
  readonly layerTypes: readonly GemmaLayerType[]; // [numHiddenLayers]
  readonly maxPositionEmbeddings: number;
}

export type AutoencoderBlockType = 'ResBlock' | 'EfficientViTBlock';
export type AutoencoderActivation = 'silu' | 'relu';

/** `vae/config.json` (`AutoencoderDC`). The arrays have one element per stage, the encoder's input side first. */
export interface AutoencoderConfig {
  readonly inChannels: number;
  readonly latentChannels: number;
  readonly attentionHeadDim: number;
  readonly encoderBlockTypes: readonly AutoencoderBlockType[];
  readonly decoderBlockTypes: readonly AutoencoderBlockType[];
  readonly encoderBlockOutChannels: readonly number[];
  readonly decoderBlockOutChannels: readonly number[];
  readonly encoderLayersPerBlock: readonly number[];
  readonly decoderLayersPerBlock: readonly number[];
  readonly encoderQkvMultiscales: readonly (readonly number[])[]; // kernel sizes of the aggregation convolutions
  readonly decoderQkvMultiscales: readonly (readonly number[])[];
  readonly upsampleBlockType: 'interpolate' | 'pixel_shuffle';
  readonly downsampleBlockType: 'Conv' | 'pixel_unshuffle';
  readonly decoderNormTypes: readonly 'rms_norm'[];
  readonly decoderActFns: readonly AutoencoderActivation[];
  readonly decoderConvActFn: AutoencoderActivation;
  readonly encoderOutShortcut: boolean;
  readonly decoderInShortcut: boolean;
  readonly scalingFactor: number;
}

export function parseTransformerConfig(json: JsonObject, file: string): TransformerConfig {
  const read = new ConfigReader(json, file);
  read.choice('_class_name', ['SanaTransformer2DModel'], 'SanaTransformer2DModel');
  return transformerConfig(read, 20);
}

export function parseControlNetConfig(json: JsonObject, file: string): TransformerConfig {
  const read = new ConfigReader(json, file);
  read.choice('_class_name', ['SanaControlNetModel'], 'SanaControlNetModel');
  return transformerConfig(read, 7);
}

function transformerConfig(read: ConfigReader, defaultLayers: number): TransformerConfig {
  read.choice('attention_bias', [false], false);
  read.choice('norm_elementwise_affine', [false], false);
  const inChannels = read.integer('in_channels', 32, 1, 1024);
  const config: TransformerConfig = {
    inChannels,
    outChannels: read.nullable('out_channels', () => read.integer('out_channels', undefined, 1, 1024)) ?? inChannels,
    numAttentionHeads: read.integer('num_attention_heads', 70, 1, 1024),
    attentionHeadDim: read.integer('attention_head_dim', 32, 1, 1024),
    numLayers: read.integer('num_layers', defaultLayers, 1, 512),
    numCrossAttentionHeads: read.integer('num_cross_attention_heads', 20, 1, 1024),
    crossAttentionHeadDim: read.integer('cross_attention_head_dim', 112, 1, 1024),
    crossAttentionDim: read.integer('cross_attention_dim', 2240, 1, MAX_WIDTH),
    captionChannels: read.integer('caption_channels', 2304, 1, MAX_WIDTH),
    mlpRatio: read.number('mlp_ratio', 2.5, 0.01, 64),
    sampleSize: read.integer('sample_size', 32, 1, 4096),
    patchSize: read.integer('patch_size', 1, 1, 16),
    normEps: read.number('norm_eps', 1e-6, 0, 1),
    interpolationScale: read.nullable('interpolation_scale', () =>
      read.number('interpolation_scale', undefined, 0.001, 1000),
    ),
    guidanceEmbeds: read.boolean('guidance_embeds', false),
    guidanceEmbedsScale: read.number('guidance_embeds_scale', 0.1, 0, 1e6),
    qkNorm: read.nullable('qk_norm', () => read.choice('qk_norm', ['rms_norm_across_heads'])),
    timestepScale: read.number('timestep_scale', 1, 1e-6, 1e6),
  };
  const width = config.numAttentionHeads * config.attentionHeadDim;
  if (width > MAX_WIDTH) throw read.error('num_attention_heads', `at most ${MAX_WIDTH} / attention_head_dim`);
  if (config.numCrossAttentionHeads * config.crossAttentionHeadDim > MAX_WIDTH) {
    throw read.error('num_cross_attention_heads', `at most ${MAX_WIDTH} / cross_attention_head_dim`);
  }
  // Keys and values are computed from the projected caption, which has the width of the transformer.
  if (config.crossAttentionDim !== width) {
    throw read.error('cross_attention_dim', `num_attention_heads x attention_head_dim, ${width}`);
  }
  return config;
}

export function parseGemma2Config(json: JsonObject, file: string): Gemma2Config {
  const read = new ConfigReader(json, file);
  read.choice('model_type', ['gemma2'], 'gemma2');
  read.choice('attention_bias', [false], false);
  read.nullable('use_bidirectional_attention', () => read.choice('use_bidirectional_attention', [false]));
  // Older writers store the frequency next to the other keys, newer ones in an object of its own.
  const rope = read.object('rope_parameters') ?? read;
  rope.choice('rope_type', ['default'], 'default');
  const numHiddenLayers = read.integer('num_hidden_layers', 26, 1, 512);
  const config: Gemma2Config = {
    vocabSize: read.integer('vocab_size', 256000, 1, 2 ** 22),
    hiddenSize: read.integer('hidden_size', 2304, 1, MAX_WIDTH),
    intermediateSize: read.integer('intermediate_size', 9216, 1, 2 ** 20),
    numHiddenLayers,
    numAttentionHeads: read.integer('num_attention_heads', 8, 1, 1024),
    numKeyValueHeads: read.integer('num_key_value_heads', 4, 1, 1024),
    headDim: read.integer('head_dim', 256, 2, 1024),
    hiddenActivation:
      read.nullable('hidden_activation', () => read.choice('hidden_activation', ['gelu_pytorch_tanh'])) ??
      'gelu_pytorch_tanh',
    rmsNormEps: read.number('rms_norm_eps', 1e-6, 0, 1),
    ropeTheta: rope.number('rope_theta', 10000, 1, 1e12),
    queryPreAttnScalar: read.number('query_pre_attn_scalar', 256, 0.001, 1e6),
    slidingWindow: read.integer('sliding_window', 4096, 1, 2 ** 24),
    attnLogitSoftcapping: Object.hasOwn(json, 'attn_logit_softcapping')
      ? (read.nullable('attn_logit_softcapping', () => read.number('attn_logit_softcapping', undefined, 0, 1e6)) ?? 0)
      : 50,
    layerTypes:
      read.nullable('layer_types', () =>
        read.list('layer_types', { min: numHiddenLayers, max: numHiddenLayers }, (items, i) =>
          items.choice(i, ['sliding_attention', 'full_attention']),
        ),
      ) ?? Array.from({ length: numHiddenLayers }, (_, i) => (i % 2 === 0 ? 'sliding_attention' : 'full_attention')),
    maxPositionEmbeddings: read.integer('max_position_embeddings', 8192, 1, 2 ** 24),
  };
  if (config.headDim % 2 !== 0) throw read.error('head_dim', 'even, because the rotation turns pairs');
  if (config.numAttentionHeads % config.numKeyValueHeads !== 0) {
    throw read.error('num_key_value_heads', `a divisor of num_attention_heads, ${config.numAttentionHeads}`);
  }
  if (config.numAttentionHeads * config.headDim > MAX_WIDTH) {
    throw read.error('num_attention_heads', `at most ${MAX_WIDTH} / head_dim`);
  }
  return config;
}

export function parseAutoencoderConfig(json: JsonObject, file: string): AutoencoderConfig {
  const read = new ConfigReader(json, file);
  read.choice('_class_name', ['AutoencoderDC'], 'AutoencoderDC');
  const stageWidths = [128, 256, 512, 512, 1024, 1024];
  const widths = (key: string) =>
    read.list(key, { min: 1, max: 16, fallback: stageWidths }, (items, i) => items.integer(i, undefined, 1, MAX_WIDTH));
  const encoderBlockOutChannels = widths('encoder_block_out_channels');
  const decoderBlockOutChannels = widths('decoder_block_out_channels');
  const stages = encoderBlockOutChannels.length;
  if (decoderBlockOutChannels.length !== stages) {
    throw read.error('decoder_block_out_channels', `a list of ${stages} elements, as encoder_block_out_channels is`);
  }
  const perStage = <T>(
    key: string,
    fallback: readonly JsonValue[] | string,
    element: (items: ConfigReader, index: string) => T,
  ) => read.list(key, { min: stages, max: stages, fallback, broadcast: true }, element);
  const blockTypes = (key: string) =>
    perStage(key, 'ResBlock', (items, i) => items.choice(i, ['ResBlock', 'EfficientViTBlock']));
  const layers = (key: string, fallback: readonly number[]) =>
    perStage(key, fallback, (items, i) => items.integer(i, undefined, i === '0' ? 0 : 1, 64)); // none in the first: half resolution
  const multiscales = (key: string) =>
    perStage(key, [[], [], [], [5], [5], [5]], (items, i) =>
      items.list(i, { min: 0, max: 4 }, (kernels, k) => kernels.choice(k, [1, 3, 5, 7, 9, 11, 13, 15])),
    );
  const config: AutoencoderConfig = {
    inChannels: read.integer('in_channels', 3, 1, 64),
    latentChannels: read.integer('latent_channels', 32, 1, 1024),
    attentionHeadDim: read.integer('attention_head_dim', 32, 1, 1024),
    encoderBlockTypes: blockTypes('encoder_block_types'),
    decoderBlockTypes: blockTypes('decoder_block_types'),
    encoderBlockOutChannels,
    decoderBlockOutChannels,
    encoderLayersPerBlock: layers('encoder_layers_per_block', [2, 2, 2, 3, 3, 3]),
    decoderLayersPerBlock: layers('decoder_layers_per_block', [3, 3, 3, 3, 3, 3]),
    encoderQkvMultiscales: multiscales('encoder_qkv_multiscales'),
    decoderQkvMultiscales: multiscales('decoder_qkv_multiscales'),
    upsampleBlockType: read.choice('upsample_block_type', ['interpolate', 'pixel_shuffle'], 'pixel_shuffle'),
    // The reference treats everything that is not exactly "pixel_unshuffle" as a strided convolution.
    downsampleBlockType:
      read.string('downsample_block_type', 'pixel_unshuffle') === 'pixel_unshuffle' ? 'pixel_unshuffle' : 'Conv',
    decoderNormTypes: perStage('decoder_norm_types', 'rms_norm', (items, i) => items.choice(i, ['rms_norm'])),
    decoderActFns: perStage('decoder_act_fns', 'silu', (items, i) => items.choice(i, ['silu', 'relu'])),
    decoderConvActFn: read.choice('decoder_conv_act_fn', ['relu', 'silu'], 'relu'),
    encoderOutShortcut: read.boolean('encoder_out_shortcut', true),
    decoderInShortcut: read.boolean('decoder_in_shortcut', true),
    scalingFactor: read.number('scaling_factor', 1, 1e-6, 1e6),
  };
  checkAttentionWidths(read, 'encoder', config.encoderBlockTypes, encoderBlockOutChannels, config.attentionHeadDim);
  checkAttentionWidths(read, 'decoder', config.decoderBlockTypes, decoderBlockOutChannels, config.attentionHeadDim);
  return config;
}

function checkAttentionWidths(
  read: ConfigReader,
  side: 'encoder' | 'decoder',
  types: readonly AutoencoderBlockType[],
  widths: readonly number[],
  headDim: number,
): void {
  const fits = types.every((type, i) => type === 'ResBlock' || (widths[i] ?? 0) % headDim === 0);
  if (!fits)
    throw read.error(`${side}_block_out_channels`, `multiples of attention_head_dim, ${headDim}, where blocks attend`);
}

/** `className` is the scheduler's class according to the pipeline; without it, the file's own is used. */
export function parseSchedulerConfig(json: JsonObject, file: string, className?: string): SchedulerConfig {
  const read = new ConfigReader(className === undefined ? json : { ...json, _class_name: className }, file);
  const numTrainTimesteps = read.integer('num_train_timesteps', 1000, 1, 100_000);
  const name = read.choice('_class_name', SCHEDULER_CLASSES);
  switch (name) {
    case 'DPMSolverMultistepScheduler':
      read.choice('algorithm_type', ['dpmsolver++'], 'dpmsolver++');
      read.choice('prediction_type', ['flow_prediction']);
      read.choice('use_flow_sigmas', [true]);
      for (const key of [...OTHER_SIGMAS, 'use_lu_lambdas', 'thresholding']) read.choice(key, [false], false);
      return {
        className: name,
        numTrainTimesteps,
        flowShift: read.number('flow_shift', 1, 0.001, 1000),
        solverOrder: read.choice('solver_order', [1, 2], 2),
        solverType: read.choice('solver_type', ['midpoint', 'heun'], 'midpoint'),
        lowerOrderFinal: read.boolean('lower_order_final', true),
        eulerAtFinal: read.boolean('euler_at_final', false),
        finalSigmasType: read.choice('final_sigmas_type', ['zero', 'sigma_min'], 'zero'),
      };
    case 'FlowMatchEulerDiscreteScheduler':
      for (const key of [...OTHER_SIGMAS, 'invert_sigmas', 'stochastic_sampling']) read.choice(key, [false], false);
      read.choice('shift_terminal', [null], null);
      return { className: name, numTrainTimesteps, shift: read.number('shift', 1, 0.001, 1000) };
    case 'SCMScheduler':
      read.choice('prediction_type', ['trigflow'], 'trigflow');
      return { className: name, numTrainTimesteps, sigmaData: read.number('sigma_data', 0.5, 0.001, 1000) };
  }
}
