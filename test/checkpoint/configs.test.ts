import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type JsonObject, parseJsonObject } from '../../lib/base/json.ts';
import {
  parseAutoencoderConfig,
  parseControlNetConfig,
  parseGemma2Config,
  parseSchedulerConfig,
  parseTransformerConfig,
} from '../../lib/checkpoint/configs.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { sanaError } from '../support/errors.ts';
import { fixture } from '../support/files.ts';
import { mutate, random } from '../support/random.ts';

const FILE = 'config.json';
const read = (...parts: string[]): JsonObject => parseJsonObject(readFileSync(fixture(...parts), 'utf8'), FILE);
const json = (object: object): JsonObject => parseJsonObject(JSON.stringify(object), FILE);

type Parse = (json: JsonObject, file: string) => object;
const KINDS: readonly (readonly [name: string, parse: Parse, path: readonly string[]])[] = [
  ['transformer', parseTransformerConfig, ['sana-base', 'transformer', 'config.json']],
  ['controlnet', parseControlNetConfig, ['sana-controlnet', 'controlnet', 'config.json']],
  ['text encoder', parseGemma2Config, ['sana-base-bf16', 'text_encoder', 'config.json']],
  ['autoencoder', parseAutoencoderConfig, ['sana-base', 'vae', 'config.json']],
  ['scheduler', parseSchedulerConfig, ['sana-base', 'scheduler', 'scheduler_config.json']],
];

describe('configs', () => {
  it('reads the transformers of the fixtures', () => {
    const base = parseTransformerConfig(read('sana-base', 'transformer', 'config.json'), FILE);
    assert.deepEqual(base, {
      inChannels: 32,
      outChannels: 32,
      numAttentionHeads: 2,
      attentionHeadDim: 32,
      numLayers: 3,
      numCrossAttentionHeads: 4,
      crossAttentionHeadDim: 16,
      crossAttentionDim: 64,
      captionChannels: 64,
      mlpRatio: 2.5,
      sampleSize: 32,
      patchSize: 1,
      normEps: 1e-6,
      interpolationScale: null,
      guidanceEmbeds: false,
      guidanceEmbedsScale: 0.1,
      qkNorm: null,
      timestepScale: 1,
    });
    const sprint = parseTransformerConfig(read('sana-sprint', 'transformer', 'config.json'), FILE);
    assert.equal(sprint.qkNorm, 'rms_norm_across_heads');
    assert.equal(sprint.guidanceEmbeds, true);
    const large = parseTransformerConfig(read('sana-4k', 'transformer', 'config.json'), FILE);
    assert.equal(large.interpolationScale, 2);
    assert.equal(large.sampleSize, 128);
    assert.equal(parseControlNetConfig(read('sana-controlnet', 'controlnet', 'config.json'), FILE).numLayers, 2);
  });

  it('keys that are not there have the defaults of the reference', () => {
    assert.deepEqual(parseTransformerConfig(json({}), FILE), {
      inChannels: 32,
      outChannels: 32,
      numAttentionHeads: 70,
      attentionHeadDim: 32,
      numLayers: 20,
      numCrossAttentionHeads: 20,
      crossAttentionHeadDim: 112,
      crossAttentionDim: 2240,
      captionChannels: 2304,
      mlpRatio: 2.5,
      sampleSize: 32,
      patchSize: 1,
      normEps: 1e-6,
      interpolationScale: null,
      guidanceEmbeds: false,
      guidanceEmbedsScale: 0.1,
      qkNorm: null,
      timestepScale: 1,
    });
    assert.equal(parseTransformerConfig(json({ in_channels: 16, out_channels: null }), FILE).outChannels, 16);
    assert.equal(parseControlNetConfig(json({}), FILE).numLayers, 7);
    const gemma = parseGemma2Config(json({}), FILE);
    assert.deepEqual(
      { ...gemma, layerTypes: gemma.layerTypes.slice(0, 2) },
      {
        vocabSize: 256000,
        hiddenSize: 2304,
        intermediateSize: 9216,
        numHiddenLayers: 26,
        numAttentionHeads: 8,
        numKeyValueHeads: 4,
        headDim: 256,
        hiddenActivation: 'gelu_pytorch_tanh',
        rmsNormEps: 1e-6,
        ropeTheta: 10000,
        queryPreAttnScalar: 256,
        slidingWindow: 4096,
        attnLogitSoftcapping: 50,
        maxPositionEmbeddings: 8192,
        layerTypes: ['sliding_attention', 'full_attention'],
      },
    );
    const vae = parseAutoencoderConfig(json({}), FILE);
    assert.equal(vae.upsampleBlockType, 'pixel_shuffle');
    assert.equal(vae.downsampleBlockType, 'pixel_unshuffle');
    assert.equal(vae.scalingFactor, 1);
    assert.deepEqual(vae.encoderLayersPerBlock, [2, 2, 2, 3, 3, 3]);
    assert.deepEqual(vae.decoderBlockTypes, Array(6).fill('ResBlock'));
  });

  it('the older and the newer layout of a text encoder mean the same', () => {
    const older = parseGemma2Config(read('sana-base', 'text_encoder', 'config.json'), FILE);
    const newer = parseGemma2Config(read('sana-base-bf16', 'text_encoder', 'config.json'), FILE);
    assert.deepEqual(older, newer);
    assert.deepEqual(older.layerTypes, ['sliding_attention', 'full_attention', 'sliding_attention']);
    assert.equal(older.slidingWindow, 96);
    assert.equal(parseGemma2Config(json({ rope_parameters: { rope_theta: 500 } }), FILE).ropeTheta, 500);
    assert.equal(parseGemma2Config(json({ attn_logit_softcapping: null }), FILE).attnLogitSoftcapping, 0);
  });

  it('reads the autoencoder of the fixtures, one value standing for all stages', () => {
    const vae = parseAutoencoderConfig(read('sana-base', 'vae', 'config.json'), FILE);
    assert.deepEqual(vae.decoderBlockOutChannels, [8, 16, 16, 32, 32, 64]);
    assert.deepEqual(vae.decoderQkvMultiscales, [[], [], [], [5], [5], [5]]);
    assert.deepEqual(vae.decoderActFns, Array(6).fill('silu'));
    assert.equal(vae.upsampleBlockType, 'interpolate');
    assert.equal(vae.downsampleBlockType, 'Conv');
    assert.equal(vae.scalingFactor, 0.41407);
  });

  it('reads the schedulers of the fixtures', () => {
    const dpm = read('sana-4k', 'scheduler', 'scheduler_config.json');
    assert.deepEqual(parseSchedulerConfig(dpm, FILE), {
      className: 'DPMSolverMultistepScheduler',
      numTrainTimesteps: 1000,
      flowShift: 6,
      solverOrder: 2,
      solverType: 'midpoint',
      lowerOrderFinal: true,
      eulerAtFinal: false,
      finalSigmasType: 'zero',
    });
    const euler = read('sana-euler', 'scheduler', 'scheduler_config.json');
    assert.deepEqual(parseSchedulerConfig(euler, FILE), {
      className: 'FlowMatchEulerDiscreteScheduler',
      numTrainTimesteps: 1000,
      shift: 3,
    });
    const scm = read('sana-sprint', 'scheduler', 'scheduler_config.json');
    assert.deepEqual(parseSchedulerConfig(scm, FILE), {
      className: 'SCMScheduler',
      numTrainTimesteps: 1000,
      sigmaData: 0.5,
    });
  });

  const dpm = { _class_name: 'DPMSolverMultistepScheduler', prediction_type: 'flow_prediction', use_flow_sigmas: true };
  const refused: readonly (readonly [Parse, object, ...string[]])[] = [
    [parseTransformerConfig, { num_layers: 0 }, '`num_layers` to be an integer from 1 to 512, found 0'],
    [parseTransformerConfig, { num_layers: -1 }, 'num_layers'],
    [parseTransformerConfig, { num_layers: 1e9 }, 'num_layers', '1000000000'],
    [parseTransformerConfig, { num_layers: 2.5 }, 'num_layers'],
    [parseTransformerConfig, { num_layers: '32' }, 'num_layers', 'found "32"'],
    [parseTransformerConfig, { num_layers: null }, 'num_layers', 'found null'],
    [parseTransformerConfig, { num_layers: [3] }, 'num_layers', 'an array of 1'],
    [parseTransformerConfig, { num_attention_heads: 1e308 }, 'num_attention_heads'],
    [parseTransformerConfig, { num_attention_heads: 1024, attention_head_dim: 1024 }, 'num_attention_heads'],
    [
      parseTransformerConfig,
      { num_cross_attention_heads: 1024, cross_attention_head_dim: 1024 },
      'num_cross_attention_heads',
    ],
    [parseTransformerConfig, { cross_attention_dim: 1152 }, 'cross_attention_dim', '2240'],
    [parseTransformerConfig, { mlp_ratio: 1e9 }, 'mlp_ratio'],
    [parseTransformerConfig, { qk_norm: 'layer_norm' }, 'qk_norm', '"layer_norm"'],
    [parseTransformerConfig, { attention_bias: true }, 'attention_bias'],
    [parseTransformerConfig, { norm_elementwise_affine: true }, 'norm_elementwise_affine'],
    [parseTransformerConfig, { interpolation_scale: 0 }, 'interpolation_scale'],
    [parseTransformerConfig, { guidance_embeds: 1 }, 'guidance_embeds', 'true or false'],
    [parseTransformerConfig, { _class_name: 'FluxTransformer2DModel' }, '_class_name', 'FluxTransformer2DModel'],
    [parseControlNetConfig, { _class_name: 'SanaTransformer2DModel' }, 'SanaControlNetModel'],
    [parseGemma2Config, { model_type: 't5' }, 'model_type', '"t5"'],
    [parseGemma2Config, { vocab_size: 1e9 }, 'vocab_size'],
    [parseGemma2Config, { head_dim: 31 }, 'head_dim', 'even'],
    [parseGemma2Config, { num_key_value_heads: 3 }, 'num_key_value_heads', 'a divisor'],
    [parseGemma2Config, { num_attention_heads: 1024, num_key_value_heads: 4, head_dim: 1024 }, 'num_attention_heads'],
    [parseGemma2Config, { hidden_activation: 'silu' }, 'hidden_activation'],
    [parseGemma2Config, { layer_types: ['full_attention'] }, 'layer_types', 'a list of 26 elements'],
    [parseGemma2Config, { num_hidden_layers: 1, layer_types: ['chunked'] }, 'layer_types.0', '"chunked"'],
    [parseGemma2Config, { rope_parameters: { rope_type: 'yarn' } }, 'rope_parameters.rope_type', '"yarn"'],
    [parseGemma2Config, { rope_parameters: 3 }, 'rope_parameters'],
    [parseGemma2Config, { use_bidirectional_attention: true }, 'use_bidirectional_attention'],
    [parseAutoencoderConfig, { encoder_block_out_channels: [] }, 'encoder_block_out_channels'],
    [parseAutoencoderConfig, { encoder_block_out_channels: Array(17).fill(8) }, 'encoder_block_out_channels'],
    [parseAutoencoderConfig, { decoder_block_out_channels: [8, 16] }, 'decoder_block_out_channels', '6 elements'],
    [parseAutoencoderConfig, { decoder_layers_per_block: [1, 1] }, 'decoder_layers_per_block'],
    [parseAutoencoderConfig, { decoder_layers_per_block: 1e9 }, 'decoder_layers_per_block.0'],
    [parseAutoencoderConfig, { decoder_block_types: 'Transformer' }, 'decoder_block_types'],
    [parseAutoencoderConfig, { encoder_qkv_multiscales: [[], [], [], [4], [5], [5]] }, 'encoder_qkv_multiscales.3.0'],
    [parseAutoencoderConfig, { decoder_norm_types: 'batch_norm' }, 'decoder_norm_types'],
    [parseAutoencoderConfig, { upsample_block_type: 'bilinear' }, 'upsample_block_type'],
    [
      parseAutoencoderConfig,
      { attention_head_dim: 33, encoder_block_types: 'EfficientViTBlock' },
      'encoder_block_out_channels',
      '33',
    ],
    [parseAutoencoderConfig, { scaling_factor: 0 }, 'scaling_factor'],
    [parseSchedulerConfig, { ...dpm, _class_name: 'PNDMScheduler' }, '_class_name', 'PNDMScheduler', 'SCMScheduler'],
    [parseSchedulerConfig, {}, '_class_name'],
    [parseSchedulerConfig, { ...dpm, algorithm_type: 'sde-dpmsolver++' }, 'algorithm_type', 'sde-dpmsolver++'],
    [parseSchedulerConfig, { ...dpm, prediction_type: 'epsilon' }, 'prediction_type', 'epsilon'],
    [parseSchedulerConfig, { ...dpm, use_flow_sigmas: false }, 'use_flow_sigmas'],
    [parseSchedulerConfig, { ...dpm, thresholding: true }, 'thresholding'],
    [parseSchedulerConfig, { ...dpm, use_karras_sigmas: true }, 'use_karras_sigmas'],
    [parseSchedulerConfig, { ...dpm, use_dynamic_shifting: true }, 'use_dynamic_shifting'],
    [parseSchedulerConfig, { ...dpm, solver_order: 3 }, 'solver_order', 'found 3'],
    [parseSchedulerConfig, { ...dpm, solver_type: 'bh2' }, 'solver_type'],
    [parseSchedulerConfig, { ...dpm, final_sigmas_type: 'none' }, 'final_sigmas_type'],
    [parseSchedulerConfig, { ...dpm, flow_shift: 'x' }, 'flow_shift'],
    [
      parseSchedulerConfig,
      { _class_name: 'FlowMatchEulerDiscreteScheduler', stochastic_sampling: true },
      'stochastic_sampling',
    ],
    [parseSchedulerConfig, { _class_name: 'FlowMatchEulerDiscreteScheduler', shift_terminal: 0.1 }, 'shift_terminal'],
    [parseSchedulerConfig, { _class_name: 'SCMScheduler', prediction_type: 'v_prediction' }, 'prediction_type'],
  ];
  for (const [parse, object, ...parts] of refused) {
    it(`rejects ${JSON.stringify(object).slice(0, 100)}, naming file, key, expected and found`, () => {
      assert.throws(() => parse(json(object), FILE), sanaError('ERR_SANA_MODEL', FILE, 'expected', 'found', ...parts));
    });
  }

  it('the class that the pipeline names is decisive', () => {
    const config = parseSchedulerConfig(json({ ...dpm, shift: 2 }), FILE, 'FlowMatchEulerDiscreteScheduler');
    assert.equal(config.className, 'FlowMatchEulerDiscreteScheduler');
  });

  for (const [name, parse, path] of KINDS) {
    it(`any key of a ${name} config may have any value: it parses or gives a typed error`, () => {
      const original = read(...path);
      let refusals = 0;
      let tried = 0;
      for (const key of Object.keys(original)) {
        for (const value of [
          0,
          -1,
          3,
          2.5,
          1e9,
          2 ** 53,
          1e308,
          NaN,
          Infinity,
          -Infinity,
          '32',
          '',
          null,
          true,
          false,
          [],
          [1],
          [[1e9]],
          {},
        ]) {
          tried++;
          try {
            assert.ok(boundedBy(parse({ ...original, [key]: value } as JsonObject, FILE), 2 ** 24), key);
          } catch (error) {
            sanaError('ERR_SANA_MODEL', FILE, 'expected', 'found')(error);
            refusals++;
          }
        }
      }
      assert.ok(refusals > tried / 4 && refusals < tried, `${refusals} refusals of ${tried}`);
    });

    it(`3000 mutants of a ${name} config parse or give a typed error, fast`, () => {
      const original = readFileSync(fixture(...path));
      const next = random(3);
      let refusals = 0;
      const start = cpuTime();
      for (let i = 0; i < 3000; i++) {
        try {
          parse(parseJsonObject(Buffer.from(mutate(original, next)).toString('utf8'), FILE), FILE);
        } catch (error) {
          sanaError('ERR_SANA_MODEL', FILE)(error);
          refusals++;
        }
      }
      assert.ok(refusals > 500 && refusals < 3000, `${refusals} refusals`);
      assert.ok(cpuTime() - start < 5000);
    });
  }
});

/** Whether every number that sizes something is small. */
function boundedBy(config: object, limit: number): boolean {
  return Object.entries(config).every(
    ([key, value]) => key === 'ropeTheta' || ![value].flat(3).some((number) => number > limit),
  );
}
