/**
 * The JSON files of a SANA repository: the released models' exact values, or small ones of any size.
 * Keys are spelled as on disk, which is why they are not camelCase.
 */

import { argumentError } from '../../lib/base/errors.ts';
import type { StoredDType } from './gaussian.ts';

/** What distinguishes the kinds of transformers, apart from their dimensions. */
export type ModelKind = 'sana' | 'sana-2k' | 'sana-4k' | 'sana-1.5' | 'sprint';
export type ReleasedModel = '0.6b' | '1.6b' | '1.5-1.6b' | '1.5-4.8b' | 'sprint-0.6b' | 'sprint-1.6b';
export type ReleasedSize = 512 | 1024 | 2048 | 4096;

export interface TextEncoderConfig {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly query_pre_attn_scalar: number;
  readonly sliding_window: number;
  readonly vocab_size: number;
}

/** A ControlNet has the transformer's dimensions, and nothing that distinguishes the kinds. */
export interface ControlNetConfig {
  readonly attention_head_dim: number;
  readonly caption_channels: number;
  readonly cross_attention_dim: number;
  readonly cross_attention_head_dim: number;
  readonly in_channels: number;
  readonly mlp_ratio: number;
  readonly num_attention_heads: number;
  readonly num_cross_attention_heads: number;
  readonly num_layers: number;
  readonly out_channels: number;
  readonly patch_size: number;
  readonly sample_size: number;
}

export interface TransformerConfig extends ControlNetConfig {
  readonly guidance_embeds: boolean;
  readonly interpolation_scale: number | null;
  readonly qk_norm: 'rms_norm_across_heads' | null;
}

/** For Flow-DPM-Solver, the noise shift; nothing varies for the SCM of Sprint models. */
export type SchedulerConfig =
  | { readonly _class_name: 'DPMSolverMultistepScheduler'; readonly flow_shift: number }
  | { readonly _class_name: 'SCMScheduler' };

export type VaeBlockType = 'ResBlock' | 'EfficientViTBlock';

export interface VaeConfig {
  readonly in_channels: number;
  readonly latent_channels: number;
  readonly encoder_block_out_channels: readonly number[];
  readonly decoder_block_out_channels: readonly number[];
  readonly encoder_block_types: readonly VaeBlockType[];
  readonly decoder_block_types: readonly VaeBlockType[];
  readonly encoder_layers_per_block: readonly number[];
  readonly decoder_layers_per_block: readonly number[];
}

export interface CheckpointConfigs {
  readonly textEncoder: TextEncoderConfig;
  readonly transformer: TransformerConfig;
  readonly vae: VaeConfig;
  readonly scheduler: SchedulerConfig;
  /** Makes it the checkpoint of a ControlNet pipeline. */
  readonly controlnet?: ControlNetConfig;
}

/** The dimensions of a small checkpoint; everything else follows from them. */
export interface TinyDimensions {
  readonly kind?: ModelKind; // default: sana
  readonly layers: number; // transformer blocks
  readonly controlLayers?: number; // blocks of a ControlNet, fewer than `layers`; 0, the default: there is none
  readonly heads: number; // self-attention heads of 32 channels: the width is 32 * heads
  readonly crossHeads: number; // cross-attention heads: they divide the width
  readonly textLayers: number;
  readonly textHidden: number;
  readonly textHeads: number;
  readonly textKvHeads: number; // divides textHeads
  readonly textHeadDim: number; // even
  readonly vaeWidth: number; // channels at full resolution, a multiple of 8; the deepest stage has 8 times as many
  readonly vaeLayers: number; // blocks of each stage
}

const kDimensions = {
  attention_head_dim: 32,
  in_channels: 32,
  mlp_ratio: 2.5,
  out_channels: 32,
  patch_size: 1,
};

const kNorms = { qk_norm: 'rms_norm_across_heads' } as const;
const kSana = { guidance_embeds: false, interpolation_scale: null, qk_norm: null };
type OfKind = Pick<TransformerConfig, keyof typeof kSana> & { readonly sample_size?: number };
const kKinds: Readonly<Record<ModelKind, OfKind>> = {
  sana: kSana,
  'sana-2k': { ...kSana, sample_size: 64, interpolation_scale: 1 },
  'sana-4k': { ...kSana, sample_size: 128, interpolation_scale: 2 },
  'sana-1.5': { ...kSana, ...kNorms },
  sprint: { ...kSana, ...kNorms, guidance_embeds: true },
};

function schedulerOf(kind: ModelKind): SchedulerConfig {
  if (kind === 'sprint') return { _class_name: 'SCMScheduler' };
  return { _class_name: 'DPMSolverMultistepScheduler', flow_shift: kind === 'sana-4k' ? 6 : 3 };
}

const kBlockTypes: readonly VaeBlockType[] = [
  'ResBlock',
  'ResBlock',
  'ResBlock',
  'EfficientViTBlock',
  'EfficientViTBlock',
  'EfficientViTBlock',
];

const kSmall = { heads: 36, layers: 28, crossHeads: 16, crossHeadDim: 72 };
const kLarge = { heads: 70, layers: 20, crossHeads: 20, crossHeadDim: 112 };

/** Dimensions, and the sizes that were released. */
const kReleased: Readonly<
  Record<ReleasedModel, typeof kSmall & { readonly kinds: Partial<Record<ReleasedSize, ModelKind>> }>
> = {
  '0.6b': { ...kSmall, kinds: { 512: 'sana', 1024: 'sana' } },
  '1.6b': { ...kLarge, kinds: { 512: 'sana', 1024: 'sana', 2048: 'sana-2k', 4096: 'sana-4k' } },
  '1.5-1.6b': { ...kLarge, kinds: { 1024: 'sana-1.5' } },
  '1.5-4.8b': { ...kLarge, layers: 60, kinds: { 1024: 'sana-1.5' } },
  'sprint-0.6b': { ...kSmall, kinds: { 1024: 'sprint' } },
  'sprint-1.6b': { ...kLarge, kinds: { 1024: 'sprint' } },
};

export const releasedModels = Object.keys(kReleased) as ReleasedModel[];

/** The sizes that a model was released for, in pixels, the smallest first. */
export function releasedSizes(model: ReleasedModel): ReleasedSize[] {
  return Object.keys(kReleased[model].kinds).map((size) => Number(size) as ReleasedSize);
}

/** Models that have released ControlNets, at 1024 pixels. */
const kControlled: readonly ReleasedModel[] = ['0.6b', '1.6b'];
const kControlLayers = 7;

export function releasedConfigs(
  model: ReleasedModel,
  size: ReleasedSize,
  vocabSize: number,
  { controlnet = false }: { controlnet?: boolean } = {},
): CheckpointConfigs {
  const { heads, layers, crossHeads, crossHeadDim, kinds } = kReleased[model];
  const kind = kinds[size];
  if (kind === undefined)
    throw argumentError('size', `one that ${model} has: ${releasedSizes(model).join(', ')}`, size);
  if (controlnet && !(kControlled.includes(model) && size === 1024)) {
    throw argumentError('controlnet', `for ${kControlled.join(' or ')} at 1024 pixels`, `${model} at ${size}`);
  }
  const channels = [128, 256, 512, 512, 1024, 1024];
  const transformer: ControlNetConfig = {
    ...kDimensions,
    caption_channels: 2304,
    cross_attention_dim: heads * 32,
    cross_attention_head_dim: crossHeadDim,
    num_attention_heads: heads,
    num_cross_attention_heads: crossHeads,
    num_layers: layers,
    sample_size: size / 32,
  };
  return {
    textEncoder: {
      head_dim: 256,
      hidden_size: 2304,
      intermediate_size: 9216,
      num_attention_heads: 8,
      num_hidden_layers: 26,
      num_key_value_heads: 4,
      query_pre_attn_scalar: 256,
      sliding_window: 4096,
      vocab_size: vocabSize,
    },
    ...ofKind(kind, transformer, controlnet ? kControlLayers : 0),
    vae: vaeConfig(channels, [2, 2, 2, 3, 3, 3], [3, 3, 3, 3, 3, 3]),
  };
}

export function tinyConfigs(dimensions: TinyDimensions, vocabSize: number): CheckpointConfigs {
  const width = dimensions.heads * 32;
  const layers = Array.from({ length: 6 }, () => dimensions.vaeLayers);
  const channels = [1, 2, 2, 4, 4, 8].map((factor) => factor * dimensions.vaeWidth);
  const transformer: ControlNetConfig = {
    ...kDimensions,
    caption_channels: dimensions.textHidden,
    cross_attention_dim: width,
    cross_attention_head_dim: width / dimensions.crossHeads,
    num_attention_heads: dimensions.heads,
    num_cross_attention_heads: dimensions.crossHeads,
    num_layers: dimensions.layers,
    sample_size: 32,
  };
  return {
    textEncoder: {
      head_dim: dimensions.textHeadDim,
      hidden_size: dimensions.textHidden,
      intermediate_size: Math.floor(2.5 * dimensions.textHidden),
      num_attention_heads: dimensions.textHeads,
      num_hidden_layers: dimensions.textLayers,
      num_key_value_heads: dimensions.textKvHeads,
      query_pre_attn_scalar: dimensions.textHeadDim,
      sliding_window: 96,
      vocab_size: vocabSize,
    },
    ...ofKind(dimensions.kind ?? 'sana', transformer, dimensions.controlLayers ?? 0),
    vae: vaeConfig(channels, layers, layers),
  };
}

/** The configuration that depends on the kind, for a transformer of these dimensions. */
function ofKind(
  kind: ModelKind,
  dimensions: ControlNetConfig,
  controlLayers: number,
): Pick<CheckpointConfigs, 'transformer' | 'scheduler' | 'controlnet'> {
  return {
    transformer: { ...dimensions, ...kKinds[kind] },
    scheduler: schedulerOf(kind),
    ...(controlLayers > 0 && { controlnet: { ...dimensions, num_layers: controlLayers } }),
  };
}

function vaeConfig(channels: number[], encoderLayers: number[], decoderLayers: number[]): VaeConfig {
  return {
    in_channels: 3,
    latent_channels: 32,
    encoder_block_out_channels: channels,
    decoder_block_out_channels: channels,
    encoder_block_types: kBlockTypes,
    decoder_block_types: kBlockTypes,
    encoder_layers_per_block: encoderLayers,
    decoder_layers_per_block: decoderLayers,
  };
}

/** Every JSON file except the tokenizer's, by its path in the repository. */
export function configFiles(configs: CheckpointConfigs, dtype: StoredDType): Map<string, string> {
  const { controlnet, scheduler } = configs;
  const rest = scheduler._class_name === 'SCMScheduler' ? kScm : kFlowDpmSolver;
  return new Map([
    ['model_index.json', json(modelIndex(configs))],
    // JSON has no infinity, but the released files contain one: readers must accept it.
    ['scheduler/scheduler_config.json', json({ ...rest, ...scheduler }).replace('"-Infinity"', '-Infinity')],
    [
      'text_encoder/config.json',
      json({ ...kTextEncoderRest, ...configs.textEncoder, torch_dtype: kTorchDTypes[dtype] }),
    ],
    ['transformer/config.json', json({ ...kTransformerRest, ...configs.transformer })],
    ['vae/config.json', json({ ...kVaeRest, ...configs.vae })],
    ...(controlnet === undefined
      ? []
      : [['controlnet/config.json', json({ ...kControlNetRest, ...controlnet })] as const]),
  ]);
}

function modelIndex({ controlnet, scheduler }: CheckpointConfigs): object {
  const plain = scheduler._class_name === 'SCMScheduler' ? 'SanaSprintPipeline' : 'SanaPipeline';
  return {
    ...kModelIndex,
    _class_name: controlnet === undefined ? plain : 'SanaControlNetPipeline',
    scheduler: ['diffusers', scheduler._class_name],
    ...(controlnet !== undefined && { controlnet: ['diffusers', 'SanaControlNetModel'] }),
  };
}

const kTorchDTypes: Readonly<Record<StoredDType, string>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** Keys in order, indented by two, like the released files. */
function json(value: object): string {
  const sorted = Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${JSON.stringify(sorted, null, 2)}\n`;
}

const kVersion = '0.32.0.dev0';

const kModelIndex = {
  _diffusers_version: kVersion,
  text_encoder: ['transformers', 'Gemma2Model'],
  tokenizer: ['transformers', 'GemmaTokenizerFast'],
  transformer: ['diffusers', 'SanaTransformer2DModel'],
  vae: ['diffusers', 'AutoencoderDC'],
};

const kScm = {
  _diffusers_version: kVersion,
  num_train_timesteps: 1000,
  prediction_type: 'trigflow',
  sigma_data: 0.5,
};

const kFlowDpmSolver = {
  _diffusers_version: kVersion,
  algorithm_type: 'dpmsolver++',
  beta_end: 0.02,
  beta_schedule: 'linear',
  beta_start: 0.0001,
  dynamic_thresholding_ratio: 0.995,
  euler_at_final: false,
  final_sigmas_type: 'zero',
  lambda_min_clipped: '-Infinity',
  lower_order_final: true,
  num_train_timesteps: 1000,
  prediction_type: 'flow_prediction',
  rescale_betas_zero_snr: false,
  sample_max_value: 1.0,
  solver_order: 2,
  solver_type: 'midpoint',
  steps_offset: 0,
  thresholding: false,
  time_shift_type: 'exponential',
  timestep_spacing: 'linspace',
  trained_betas: null,
  use_beta_sigmas: false,
  use_dynamic_shifting: false,
  use_exponential_sigmas: false,
  use_flow_sigmas: true,
  use_karras_sigmas: false,
  use_lu_lambdas: false,
  variance_type: null,
};

const kTextEncoderRest = {
  architectures: ['Gemma2Model'],
  attention_bias: false,
  attention_dropout: 0.0,
  attn_logit_softcapping: 50.0,
  bos_token_id: 2,
  cache_implementation: 'hybrid',
  eos_token_id: 1,
  final_logit_softcapping: 30.0,
  hidden_act: 'gelu_pytorch_tanh',
  hidden_activation: 'gelu_pytorch_tanh',
  initializer_range: 0.02,
  max_position_embeddings: 8192,
  model_type: 'gemma2',
  pad_token_id: 0,
  rms_norm_eps: 1e-6,
  rope_theta: 10000.0,
  transformers_version: '4.46.3',
  use_cache: true,
};

const kTransformerRest = {
  _class_name: 'SanaTransformer2DModel',
  _diffusers_version: kVersion,
  attention_bias: false,
  dropout: 0.0,
  guidance_embeds_scale: 0.1,
  norm_elementwise_affine: false,
  norm_eps: 1e-6,
  timestep_scale: 1.0,
};

const kControlNetRest = {
  _class_name: 'SanaControlNetModel',
  _diffusers_version: kVersion,
  attention_bias: false,
  dropout: 0.0,
  interpolation_scale: null,
  norm_elementwise_affine: false,
  norm_eps: 1e-6,
};

const kVaeRest = {
  _class_name: 'AutoencoderDC',
  _diffusers_version: kVersion,
  attention_head_dim: 32,
  decoder_act_fns: 'silu',
  decoder_conv_act_fn: 'relu',
  decoder_in_shortcut: true,
  decoder_norm_types: 'rms_norm',
  decoder_qkv_multiscales: [[], [], [], [5], [5], [5]],
  downsample_block_type: 'Conv',
  encoder_out_shortcut: true,
  encoder_qkv_multiscales: [[], [], [], [5], [5], [5]],
  scaling_factor: 0.41407,
  upsample_block_type: 'interpolate',
};
