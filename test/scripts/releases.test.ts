import assert from 'node:assert/strict';
import { join } from 'node:path';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import {
  components,
  defaultShardBytes,
  tokenizerFrom,
  writeRandomCheckpoint,
} from '../../scripts/random-checkpoint/checkpoint.ts';
import {
  configFiles,
  type ReleasedModel,
  type ReleasedSize,
  releasedConfigs,
  releasedModels,
  releasedSizes,
} from '../../scripts/random-checkpoint/configs.ts';
import { hasVariants, releases, unsuffixedDType } from '../../scripts/random-checkpoint/releases.ts';
import { parameterCount, type TensorSpec } from '../../scripts/random-checkpoint/tensors.ts';
import { shardsOf, type Variant } from '../../scripts/random-checkpoint/writer.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, temporaryFolder } from '../support/files.ts';

const vocabSize = 256000;

/** Tensors and parameters of the transformers, as the reference's class has them with the released configurations. */
const transformers: Record<ReleasedModel, readonly [number, number]> = {
  '0.6b': [548, 591_747_872],
  '1.6b': [396, 1_604_462_752],
  '1.5-1.6b': [476, 1_604_641_952],
  '1.5-4.8b': [1396, 4_721_825_952],
  'sprint-0.6b': [664, 593_501_216],
  'sprint-1.6b': [480, 1_610_237_472],
};

function tensorsOf(folder: string, model: ReleasedModel, size: ReleasedSize, controlnet = false): TensorSpec[] {
  const parts = components(releasedConfigs(model, size, vocabSize, { controlnet }));
  return parts.find((part) => part.folder === folder)?.tensors ?? assert.fail();
}

describe('the released models', () => {
  const folder = temporaryFolder();

  for (const model of releasedModels) {
    for (const size of releasedSizes(model)) {
      it(`${model} at ${size} has as many tensors and parameters as the release, with distinct names`, () => {
        const tensors = tensorsOf('transformer', model, size);
        assert.deepEqual([tensors.length, parameterCount(tensors)], transformers[model]);
        assert.equal(new Set(tensors.map(({ name }) => name)).size, tensors.length);
        const text = tensorsOf('text_encoder', model, size);
        assert.deepEqual([text.length, parameterCount(text)], [288, 2_614_341_888]);
        assert.equal(parameterCount(tensorsOf('vae', model, size)), 159_223_171 + 153_027_104);
      });
    }
  }

  for (const model of releasedModels) {
    for (const size of releasedSizes(model)) {
      it(`${model} at ${size}: the package accepts every file, and plans a picture of that size`, async () => {
        const path = join(folder.path, `${model}-${size}`);
        const tokenizer = await tokenizerFrom(fixture('sana-base', 'tokenizer'));
        await writeRandomCheckpoint(path, {
          configs: releasedConfigs(model, size, vocabSize),
          tokenizer,
          variant: 'none',
          dtype: 'BF16',
          hollow: true,
          seed: 0,
        });
        const explanation = await SanaPipeline.explain(path, undefined, { device: testDevice, dtype: 'bfloat16' });
        assert.deepEqual([explanation.width, explanation.height], [size, size]);
        const step = explanation.stages.find(({ name }) => name === 'denoise_step');
        assert.equal(step?.runs, model.startsWith('sprint') ? 2 : 20);
        const weights = transformers[model][1] + 2_614_341_888 - 256000 * 2304 + 159_223_171;
        // Vectors and depthwise convolutions are kept in f32.
        const bytes = explanation.memory.weightsBytes / weights;
        assert.ok(bytes > 2 && bytes < 2.02, `${bytes} bytes a parameter`);
      });
    }
  }

  for (const [model, parameters] of [
    ['0.6b', 168_765_696],
    ['1.6b', 631_576_960],
  ] as const) {
    it(`a ControlNet of ${model} has as many parameters as the reference's class`, () => {
      const tensors = tensorsOf('controlnet', model, 1024, true);
      assert.equal(parameterCount(tensors), parameters);
      assert.equal(new Set(tensors.map(({ name }) => name)).size, tensors.length);
    });
  }

  it('are distinguished by their configurations', () => {
    const read = (model: ReleasedModel, size: ReleasedSize, file: string, controlnet = false) =>
      JSON.parse(
        (configFiles(releasedConfigs(model, size, vocabSize, { controlnet }), 'BF16').get(file) ?? '').replace(
          '-Infinity',
          'null',
        ),
      );
    const rows = releasedModels.flatMap((model) =>
      releasedSizes(model).map((size) => {
        const transformer = read(model, size, 'transformer/config.json');
        const scheduler = read(model, size, 'scheduler/scheduler_config.json');
        return [
          `${model} ${size}`,
          transformer.num_attention_heads,
          transformer.num_layers,
          transformer.num_cross_attention_heads,
          transformer.cross_attention_head_dim,
          transformer.sample_size,
          transformer.interpolation_scale,
          transformer.qk_norm,
          transformer.guidance_embeds,
          scheduler._class_name,
          scheduler.flow_shift,
          read(model, size, 'model_index.json')._class_name,
        ];
      }),
    );
    const dpm = 'DPMSolverMultistepScheduler';
    const norm = 'rms_norm_across_heads';
    assert.deepEqual(rows, [
      ['0.6b 512', 36, 28, 16, 72, 16, null, null, false, dpm, 3, 'SanaPipeline'],
      ['0.6b 1024', 36, 28, 16, 72, 32, null, null, false, dpm, 3, 'SanaPipeline'],
      ['1.6b 512', 70, 20, 20, 112, 16, null, null, false, dpm, 3, 'SanaPipeline'],
      ['1.6b 1024', 70, 20, 20, 112, 32, null, null, false, dpm, 3, 'SanaPipeline'],
      ['1.6b 2048', 70, 20, 20, 112, 64, 1, null, false, dpm, 3, 'SanaPipeline'],
      ['1.6b 4096', 70, 20, 20, 112, 128, 2, null, false, dpm, 6, 'SanaPipeline'],
      ['1.5-1.6b 1024', 70, 20, 20, 112, 32, null, norm, false, dpm, 3, 'SanaPipeline'],
      ['1.5-4.8b 1024', 70, 60, 20, 112, 32, null, norm, false, dpm, 3, 'SanaPipeline'],
      ['sprint-0.6b 1024', 36, 28, 16, 72, 32, null, norm, true, 'SCMScheduler', undefined, 'SanaSprintPipeline'],
      ['sprint-1.6b 1024', 70, 20, 20, 112, 32, null, norm, true, 'SCMScheduler', undefined, 'SanaSprintPipeline'],
    ]);
    const index = read('0.6b', 1024, 'model_index.json', true);
    assert.equal(index._class_name, 'SanaControlNetPipeline');
    assert.deepEqual(index.controlnet, ['diffusers', 'SanaControlNetModel']);
    assert.equal(read('0.6b', 1024, 'controlnet/config.json', true).num_layers, 7);
  });

  it('have files named and cut as in their repositories', () => {
    const files = (folder: string, model: ReleasedModel, variant: Variant) => {
      const dtype = { none: unsuffixedDType(model), fp16: 'F16', bf16: 'BF16' } as const;
      const stem = folder === 'text_encoder' ? 'model' : 'diffusion_pytorch_model';
      const how = { stem, variant, dtype: dtype[variant], shardBytes: defaultShardBytes };
      const [size = 1024] = releasedSizes(model);
      return shardsOf(tensorsOf(folder, model, size), how).map(({ file }) => file);
    };
    assert.deepEqual(files('text_encoder', '0.6b', 'fp16'), [
      'model.fp16-00001-of-00002.safetensors',
      'model.fp16-00002-of-00002.safetensors',
    ]);
    assert.deepEqual(files('transformer', '0.6b', 'fp16'), ['diffusion_pytorch_model.fp16.safetensors']);
    assert.deepEqual(files('vae', '0.6b', 'fp16'), ['diffusion_pytorch_model.fp16.safetensors']);
    assert.deepEqual(files('transformer', '1.6b', 'none'), [
      'diffusion_pytorch_model-00001-of-00002.safetensors',
      'diffusion_pytorch_model-00002-of-00002.safetensors',
    ]);
    assert.deepEqual(files('transformer', '1.6b', 'bf16'), ['diffusion_pytorch_model.bf16.safetensors']);
    assert.deepEqual(files('transformer', '1.5-1.6b', 'none'), ['diffusion_pytorch_model.safetensors']);
    assert.deepEqual(files('transformer', '1.5-4.8b', 'none'), [
      'diffusion_pytorch_model-00001-of-00002.safetensors',
      'diffusion_pytorch_model-00002-of-00002.safetensors',
    ]);
    assert.deepEqual(files('text_encoder', 'sprint-0.6b', 'none'), [
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
    ]);
  });

  it('are rejected at sizes, with ControlNets and in variants that were not released', () => {
    const size = () => releasedConfigs('1.5-4.8b', 512, vocabSize);
    assert.throws(size, sanaError('ERR_SANA_ARGUMENT', /`size` to be one that 1.5-4.8b has: 1024/));
    const sprint = () => releasedConfigs('sprint-0.6b', 1024, vocabSize, { controlnet: true });
    assert.throws(sprint, sanaError('ERR_SANA_ARGUMENT', /`controlnet` to be for 0.6b or 1.6b/));
    assert.deepEqual(releasedModels.filter(hasVariants), ['0.6b', '1.6b']);
  });

  it('are those of the repositories', () => {
    for (const { repository, model, size, controlnet = false } of releases) {
      assert.ok(releasedConfigs(model, size, vocabSize, { controlnet }), repository);
    }
    assert.equal(new Set(releases.map(({ repository }) => repository)).size, releases.length);
  });
});
