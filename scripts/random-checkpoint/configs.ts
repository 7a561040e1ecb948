/**
 * The JSON files of a SANA repository: the released models' exact values, or small ones of any size.
 * Keys are spelled as on disk, which is why they are not camelCase.
 */

import type { StoredDType } from './gaussian.ts';

export type ReleasedModel = '0.6b' | '1.6b';
export type ReleasedSize = 512 | 1024;

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

export interface TransformerConfig {
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
  /** Makes it a ControlNet pipeline's checkpoint. */
  readonly controlnet?: TransformerConfig;
}

/** The dimensions of a small checkpoint; everything else follows from them. */
export interface TinyDimensions {
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

const kTransformer = {
  attention_head_dim: 32,
  in_channels: 32,
  mlp_ratio: 2.5,
  out_channels: 32,
  patch_size: 1,
};

const kBlockTypes: readonly VaeBlockType[] = [
  'ResBlock',
  'ResBlock',
  'ResBlock',
  'EfficientViTBlock',
  'EfficientViTBlock',
  'EfficientViTBlock',
];

export function releasedConfigs(model: ReleasedModel, size: ReleasedSize, vocabSize: number): CheckpointConfigs {
  const shape =
    model === '0.6b'
      ? { heads: 36, layers: 28, crossHeads: 16, crossHeadDim: 72 }
      : { heads: 70, layers: 20, crossHeads: 20, crossHeadDim: 112 };
  const channels = [128, 256, 512, 512, 1024, 1024];
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
    transformer: {
      ...kTransformer,
      caption_channels: 2304,
      cross_attention_dim: shape.heads * 32,
      cross_attention_head_dim: shape.crossHeadDim,
      num_attention_heads: shape.heads,
      num_cross_attention_heads: shape.crossHeads,
      num_layers: shape.layers,
      sample_size: size / 32,
    },
    vae: vaeConfig(channels, [2, 2, 2, 3, 3, 3], [3, 3, 3, 3, 3, 3]),
  };
}

export function tinyConfigs(dimensions: TinyDimensions, vocabSize: number): CheckpointConfigs {
  const width = dimensions.heads * 32;
  const layers = Array.from({ length: 6 }, () => dimensions.vaeLayers);
  const channels = [1, 2, 2, 4, 4, 8].map((factor) => factor * dimensions.vaeWidth);
  const transformer: TransformerConfig = {
    ...kTransformer,
    caption_channels: dimensions.textHidden,
    cross_attention_dim: width,
    cross_attention_head_dim: width / dimensions.crossHeads,
    num_attention_heads: dimensions.heads,
    num_cross_attention_heads: dimensions.crossHeads,
    num_layers: dimensions.layers,
    sample_size: 32,
  };
  const { controlLayers = 0 } = dimensions;
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
    transformer,
    ...(controlLayers > 0 && { controlnet: { ...transformer, num_layers: controlLayers } }),
    vae: vaeConfig(channels, layers, layers),
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

/** Every JSON file but the tokenizer's, by its path in the repository. */
export function configFiles(configs: CheckpointConfigs, dtype: StoredDType): Map<string, string> {
  const { controlnet } = configs;
  return new Map([
    ['model_index.json', json(controlnet === undefined ? kModelIndex : kControlModelIndex)],
    // JSON has no infinity, yet the released files hold one: readers must take it.
    ['scheduler/scheduler_config.json', json(kScheduler).replace('"-Infinity"', '-Infinity')],
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

const kTorchDTypes: Readonly<Record<StoredDType, string>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** Keys in order, indented by two, as the released files are. */
function json(value: object): string {
  const sorted = Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  return `${JSON.stringify(sorted, null, 2)}\n`;
}

const kVersion = '0.32.0.dev0';

const kModelIndex = {
  _class_name: 'SanaPipeline',
  _diffusers_version: kVersion,
  scheduler: ['diffusers', 'DPMSolverMultistepScheduler'],
  text_encoder: ['transformers', 'Gemma2Model'],
  tokenizer: ['transformers', 'GemmaTokenizerFast'],
  transformer: ['diffusers', 'SanaTransformer2DModel'],
  vae: ['diffusers', 'AutoencoderDC'],
};

const kControlModelIndex = {
  ...kModelIndex,
  _class_name: 'SanaControlNetPipeline',
  controlnet: ['diffusers', 'SanaControlNetModel'],
};

const kScheduler = {
  _class_name: 'DPMSolverMultistepScheduler',
  _diffusers_version: kVersion,
  algorithm_type: 'dpmsolver++',
  beta_end: 0.02,
  beta_schedule: 'linear',
  beta_start: 0.0001,
  dynamic_thresholding_ratio: 0.995,
  euler_at_final: false,
  final_sigmas_type: 'zero',
  flow_shift: 3.0,
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
  guidance_embeds: false,
  guidance_embeds_scale: 0.1,
  interpolation_scale: null,
  norm_elementwise_affine: false,
  norm_eps: 1e-6,
  qk_norm: null,
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
