import assert from 'node:assert/strict';
import { parseTransformerConfig } from '../../lib/checkpoint/configs.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { autoencoderLayout } from '../../lib/convert/autoencoder-names.ts';
import { checkLayout, type Layout, Shapes } from '../../lib/convert/official-layout.ts';
import type { SourceTensor } from '../../lib/convert/source-tensor.ts';
import { controlNetLayout, transformerLayout } from '../../lib/convert/transformer-names.ts';
import type { NativeDevice } from '../../lib/device/native.ts';
import { SanaTransformer } from '../../lib/networks/sana-transformer.ts';
import {
  configFiles,
  type ReleasedModel,
  releasedConfigs,
  tinyConfigs,
} from '../../scripts/random-checkpoint/configs.ts';
import { transformerTensors, vaeTensors } from '../../scripts/random-checkpoint/tensors.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, openFile } from '../support/files.ts';
import { officialAutoencoder, officialTransformer } from '../support/official-names.ts';
import { random } from '../support/random.ts';
import { smallest } from '../support/random-checkpoints.ts';

type ShapeMap = ReadonlyMap<string, readonly number[]>;

/** Tensors of these names and shapes in the official layout, without any elements. */
function official(shapes: ShapeMap, names: typeof officialTransformer): Map<string, SourceTensor> {
  const empty = new Map([...shapes].map(([name, shape]) => [name, { shape, data: new Float32Array(0) }]));
  return sources(new Map([...names(empty)].map(([name, { shape }]) => [name, shape])));
}

function sources(shapes: ShapeMap): Map<string, SourceTensor> {
  return new Map(
    [...shapes].map(([name, shape]) => {
      const elements = shape.reduce((product, size) => product * size, 1);
      const read = () => assert.fail('nothing is read');
      return [name, { name, shape, elements, dtype: 'f32', storedDType: 'F32', elementBytes: 4, read }];
    }),
  );
}

/** What a layout makes, by name. */
function results(layout: Layout): Map<string, readonly number[]> {
  return new Map(layout.moves.flatMap(({ to, toShape }) => to.map((name) => [name, toShape] as const)));
}

const sorted = (shapes: ShapeMap) => new Map([...shapes].sort(([a], [b]) => (a < b ? -1 : 1)));
const specs = (tensors: readonly { readonly name: string; readonly shape: readonly number[] }[]): ShapeMap =>
  new Map(tensors.map(({ name, shape }) => [name, shape]));
const elements = (shapes: ShapeMap) =>
  [...shapes.values()].reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 1), 0);

const choices = { imageSize: undefined, crossAttentionHeads: undefined } as const;
const transformerOf = (tensors: Map<string, SourceTensor>, path = 'Sana_1024px.pth') => {
  const layout = transformerLayout(new Shapes(tensors, path), choices, path);
  return { layout, dropped: checkLayout(layout, tensors, path) };
};

/** The transformers of the releases, as described in the paper's repositories: see the reference's configs. */
function releasedTransformer(
  width: number,
  layers: number,
  more: { qkNorm?: boolean; guided?: boolean } = {},
): ShapeMap {
  const { transformer } = releasedConfigs(width === 1152 ? '0.6b' : '1.6b', 1024, 256000);
  const shapes = new Map(specs(transformerTensors({ ...transformer, num_layers: layers })));
  if (more.qkNorm) {
    for (let i = 0; i < layers; i++) {
      for (const attn of ['attn1', 'attn2']) {
        for (const x of ['q', 'k']) shapes.set(`transformer_blocks.${i}.${attn}.norm_${x}.weight`, [width]);
      }
    }
  }
  if (!more.guided) return shapes;
  const guided = new Map([...shapes].map(([name, shape]) => [name.replace('time_embed.emb.', 'time_embed.'), shape]));
  for (const [name, shape] of [...guided]) {
    if (name.includes('timestep_embedder')) guided.set(name.replace('timestep', 'guidance'), shape);
  }
  return guided;
}

describe('layouts', () => {
  // Width, layers, extras; tensors and parameters of the release.
  const releases = [
    ['Sana 0.6B', 1152, 28, {}, 548, 591_747_872],
    ['Sana 1.6B', 2240, 20, {}, 396, 1_604_462_752],
    ['SANA-1.5 1.6B', 2240, 20, { qkNorm: true }, 476, 1_604_641_952],
    ['SANA-1.5 4.8B', 2240, 60, { qkNorm: true }, 1396, 4_721_825_952],
    ['Sprint 0.6B', 1152, 28, { qkNorm: true, guided: true }, 664, 593_501_216],
    ['Sprint 1.6B', 2240, 20, { qkNorm: true, guided: true }, 480, 1_610_237_472],
  ] as const;
  for (const [name, width, layers, more, tensors, parameters] of releases) {
    it(`${name}: every tensor finds its place`, () => {
      const expected = releasedTransformer(width, layers, more);
      assert.deepEqual([expected.size, elements(expected)], [tensors, parameters]);
      const { layout, dropped } = transformerOf(official(expected, officialTransformer));
      assert.deepEqual(sorted(results(layout)), sorted(expected));
      assert.deepEqual(dropped, []);
      const { qkNorm = false, guided = false } = more as { qkNorm?: boolean; guided?: boolean };
      assert.equal(layout.config.num_layers, layers);
      assert.equal(layout.config.num_attention_heads, width / 32);
      assert.equal(layout.config.num_cross_attention_heads, width === 1152 ? 16 : 20);
      assert.equal(layout.config.cross_attention_head_dim, width === 1152 ? 72 : 112);
      assert.equal(layout.config.qk_norm, qkNorm ? 'rms_norm_across_heads' : null);
      assert.equal(layout.config.guidance_embeds, guided);
      assert.equal(layout.config.mlp_ratio, 2.5);
    });
  }

  for (const [model, size] of [
    ['0.6b', 512],
    ['0.6b', 1024],
    ['1.6b', 1024],
  ] as const satisfies readonly (readonly [ReleasedModel, number])[]) {
    it(`${model} at ${size}: the configuration is that of the release, and the model takes the tensors`, () => {
      const configs = releasedConfigs(model, size, 256000);
      const tensors = official(specs(transformerTensors(configs.transformer)), officialTransformer);
      const { layout } = transformerOf(tensors, `Sana_${size}px.pth`);
      const { _diffusers_version: _, ...released } = JSON.parse(
        configFiles(configs, 'F32').get('transformer/config.json') ?? '',
      );
      assert.deepEqual(layout.config, released);
      const device = { tensorBytes: () => 0 } as unknown as NativeDevice; // nothing is allocated
      const expected = new SanaTransformer(device, parseTransformerConfig(layout.config, 'config.json'), 'f32').weights;
      assert.deepEqual(sorted(results(layout)), sorted(expected.expected()));
    });
  }

  it('a ControlNet of the released sizes: every tensor finds its place, the frozen transformer is dropped', async () => {
    for (const [width, parameters] of [
      [1152, 168_765_696],
      [2240, 631_576_960],
    ] as const) {
      const base = releasedTransformer(width, 7);
      const expected = new Map([...base].filter(([name]) => !/^(proj_out\.|scale_shift_table)/.test(name)));
      for (const name of ['input_block', ...Array.from({ length: 7 }, (_, i) => `controlnet_blocks.${i}`)]) {
        expected.set(`${name}.weight`, [width, width]).set(`${name}.bias`, [width]);
      }
      assert.equal(elements(expected), parameters);
      const frozen = sources(
        new Map([
          ['blocks.27.attn.qkv.weight', [1]],
          ['final_layer.linear.weight', [1]],
        ]),
      );
      const tensors = new Map([...official(expected, officialTransformer), ...frozen]);
      const layout = controlNetLayout(new Shapes(tensors, 'x_1024px.pth'), choices, 'x_1024px.pth');
      assert.deepEqual(checkLayout(layout, tensors, 'x').sort(), [...frozen.keys()]);
      assert.deepEqual(sorted(results(layout)), sorted(expected));
      assert.deepEqual([layout.config._class_name, layout.config.num_layers], ['SanaControlNetModel', 7]);
    }
  });

  it('DC-AE of the released size: every tensor finds its place', () => {
    const configs = releasedConfigs('0.6b', 512, 256000);
    const expected = specs(vaeTensors(configs.vae));
    assert.equal(elements(expected), 153_027_104 + 159_223_171);
    const tensors = official(expected, officialAutoencoder);
    const layout = autoencoderLayout(new Shapes(tensors, 'x'), 'x');
    assert.deepEqual(checkLayout(layout, tensors, 'x'), []);
    assert.deepEqual(sorted(results(layout)), sorted(expected));
    const { _diffusers_version: _, ...released } = JSON.parse(configFiles(configs, 'F32').get('vae/config.json') ?? '');
    assert.deepEqual(layout.config, { ...released, decoder_act_fns: 'silu' });
  });

  it('DC-AE: the names are those of efficientvit', () => {
    const names = [...official(specs(vaeTensors(releasedConfigs('0.6b', 512, 2).vae)), officialAutoencoder).keys()];
    // From efficientvit's modules: ResidualBlock has `main`, OpSequential `op_list`, ConvLayer `conv` and `norm`.
    for (const name of [
      'encoder.project_in.conv.weight',
      'encoder.stages.0.op_list.1.main.conv2.norm.bias',
      'encoder.stages.0.op_list.2.main.conv.weight',
      'encoder.stages.3.op_list.0.context_module.main.qkv.conv.weight',
      'encoder.stages.3.op_list.0.context_module.main.aggreg.0.1.weight',
      'encoder.stages.3.op_list.0.local_module.main.point_conv.norm.weight',
      'encoder.project_out.main.op_list.0.conv.bias',
      'decoder.project_in.main.conv.weight',
      'decoder.stages.0.op_list.0.main.conv.conv.weight',
      'decoder.stages.5.op_list.2.context_module.main.proj.norm.weight',
      'decoder.project_out.op_list.0.weight',
      'decoder.project_out.op_list.2.conv.weight',
    ]) {
      assert.ok(names.includes(name), name);
    }
  });

  it('drops what is not needed, and nothing else', () => {
    const tensors = official(releasedTransformer(1152, 2), officialTransformer);
    const extra = ['y_embedder.y_embedding', 'pos_embed', 'logvar_linear.weight', 'logvar_linear.bias'];
    for (const [name, tensor] of sources(new Map(extra.map((name) => [name, [1, 1024, 1152]]))))
      tensors.set(name, tensor);
    assert.deepEqual(transformerOf(tensors).dropped, extra);
    for (const name of ['pos_embed.weight', 'blocks.0.attn.extra', 'y_embedder.y_embedding.x', '__proto__']) {
      const [unknown] = sources(new Map([[name, [1]]])).values();
      assert.ok(unknown !== undefined);
      assert.throws(
        () => transformerOf(new Map([...tensors, [name, unknown]])),
        sanaError('ERR_SANA_MODEL', `1 not known: ${JSON.stringify(name)}`),
      );
    }
  });

  it('reports all mismatches at once', () => {
    const tensors = official(releasedTransformer(1152, 2), officialTransformer);
    const change = (name: string, more: Partial<SourceTensor>) => {
      const tensor = tensors.get(name) ?? assert.fail(name);
      tensors.set(name, { ...tensor, ...more });
    };
    tensors.delete('blocks.1.cross_attn.kv_linear.bias');
    tensors.delete('t_block.1.bias');
    change('blocks.1.attn.qkv.weight', { shape: [1152, 3456] });
    change('final_layer.linear.bias', { dtype: 'other', storedDType: 'F64' });
    for (let i = 0; i < 30; i++) tensors.set(`lora.${i}`, { ...(tensors.get('t_block.1.weight') ?? assert.fail()) });
    assert.throws(
      () => transformerOf(tensors),
      sanaError(
        'ERR_SANA_MODEL',
        '2 missing: t_block.1.bias, blocks.1.cross_attn.kv_linear.bias',
        '30 not known: "lora.0", ',
        ', and 10 more',
        '1 of another shape: blocks.1.attn.qkv.weight is [1152, 3456], expected [3456, 1152]',
        '1 of another dtype: final_layer.linear.bias is F64',
      ),
    );
  });

  it('a file of something else is recognized by what is missing', () => {
    const other = sources(new Map([['model.embed_tokens.weight', [256000, 2304]]]));
    assert.throws(
      () => transformerOf(other),
      sanaError('ERR_SANA_MODEL', 'x_embedder.proj.weight', '"model.embed_tokens.weight"'),
    );
    const autoencoder = sources(new Map([['encoder.conv_in.weight', [128, 3, 3, 3]]]));
    assert.throws(
      () => autoencoderLayout(new Shapes(autoencoder, 'x'), 'x'),
      sanaError('ERR_SANA_MODEL', 'encoder.project_in.conv.weight'),
    );
  });

  it('absurd sizes are rejected before anything is allocated', () => {
    const tensors = official(releasedTransformer(1152, 1), officialTransformer);
    const [tensor] = tensors.values();
    assert.ok(tensor !== undefined);
    for (const [name, shape, message] of [
      ['x_embedder.proj.weight', [1000, 32, 1, 1], '1000 channels'],
      ['x_embedder.proj.weight', [2 ** 40, 32, 1, 1], 'cross-attention heads'],
      ['x_embedder.proj.weight', [1152, 2 ** 40, 1, 1], 'in_channels'],
      ['x_embedder.proj.weight', [1152, 32], 'expected 4 dimensions'],
      ['y_embedder.y_proj.fc1.weight', [1152, 2 ** 40], 'caption_channels'],
    ] as const) {
      const changed = new Map(tensors).set(name, { ...tensor, shape });
      assert.throws(() => transformerOf(changed), sanaError('ERR_SANA_MODEL', message));
    }
    const many = new Map(tensors).set('blocks.9999.x', tensor).set('blocks.511.x', tensor);
    assert.throws(() => transformerOf(many), sanaError('ERR_SANA_MODEL', 'missing', 'and '));
  });

  describe('the image size', () => {
    const base = official(releasedTransformer(2240, 1), officialTransformer);
    const withPosition = (tokens: number) =>
      new Map([...base, ...sources(new Map([['pos_embed', [1, tokens, 2240]]]))]);
    for (const [path, tokens, size, scale] of [
      ['Sana_1600M_512px.pth', 256, 512, null],
      ['model.pth', 1024, 1024, null],
      ['Sana_1600M_2Kpx_BF16.pth', 4096, 2048, 1],
      ['dir/Sana_1600M_4Kpx_BF16.pth', 0, 4096, 2],
      ['SANA1.5_1.6B_1024px.safetensors', 0, 1024, null],
    ] as const) {
      it(`${size} of ${path}${tokens > 0 ? ` with ${tokens} positions` : ''}`, () => {
        const { layout } = transformerOf(tokens > 0 ? withPosition(tokens) : base, path);
        assert.deepEqual([layout.config.sample_size, layout.config.interpolation_scale], [size / 32, scale]);
      });
    }

    it('must be given if nothing determines it, or if two things contradict each other', () => {
      for (const [tensors, path] of [
        [base, 'model.pth'],
        [withPosition(1000), 'model.pth'],
        [withPosition(1024), 'Sana_4Kpx.pth'],
      ] as const) {
        assert.throws(
          () => transformerOf(tensors, path),
          (error: Error & { hint?: string }) => {
            assert.match(error.hint ?? '', /--image-size 512\|1024\|2048\|4096/);
            return sanaError('ERR_SANA_MODEL', path)(error);
          },
        );
      }
      const layout = transformerLayout(new Shapes(withPosition(1024), 'x'), { ...choices, imageSize: 4096 }, 'x');
      assert.equal(layout.config.sample_size, 128);
    });
  });

  it('3000 mutants of names and shapes fit or are rejected quickly', () => {
    const next = random(4);
    const start = cpuTime();
    const below = (limit: number) => Math.floor(next() * limit);
    const sizes = [0, 1, 2, 7, 31, 32, 64, 1152, 3456, 65537, 2 ** 31, 2 ** 53 - 1];
    const tinyVae = vaeTensors(tinyConfigs(smallest, 1233).vae);
    const kinds = [
      official(releasedTransformer(1152, 2, { qkNorm: true }), officialTransformer),
      official(releasedTransformer(1152, 2, { guided: true }), officialTransformer),
      official(specs(tinyVae), officialAutoencoder),
    ];
    let fits = 0;
    for (let i = 0; i < 3000; i++) {
      const tensors = new Map(kinds[i % 3]);
      for (let edits = below(3); edits >= 0; edits--) {
        const [name, tensor] = [...tensors][below(tensors.size)] ?? assert.fail();
        tensors.delete(name);
        const edit = below(4);
        const shape = tensor.shape.map((size) => (next() < 0.5 ? size : (sizes[below(sizes.length)] ?? 0)));
        if (edit === 1)
          tensors.set(
            name.replaceAll(/\d+/g, () => String(below(1000))),
            tensor,
          );
        if (edit === 2) tensors.set(name, { ...tensor, shape });
        if (edit === 3) tensors.set(name, { ...tensor, shape: shape.slice(below(2)) });
      }
      try {
        const shapes = new Shapes(tensors, 'x_1024px.pth');
        const layout =
          i % 3 === 2 ? autoencoderLayout(shapes, 'x') : transformerLayout(shapes, choices, 'x_1024px.pth');
        checkLayout(layout, tensors, 'x');
        fits++;
      } catch (error) {
        sanaError('ERR_SANA_MODEL', 'x')(error);
      }
    }
    assert.ok(fits > 0 && fits < 1000, `${fits} fit`);
    assert.ok(cpuTime() - start < 20_000);
  });

  it('the fixtures of every kind: names and shapes there and back', async () => {
    for (const name of ['sana15', 'sana-sprint', 'sana-2k', 'sana-4k']) {
      const file = openFile(fixture(name, 'transformer', 'diffusion_pytorch_model.safetensors'));
      const { tensors } = await readSafetensors(file);
      const expected = new Map([...tensors].map(([tensor, { shape }]) => [tensor, shape]));
      const found = official(expected, officialTransformer);
      const layout = transformerLayout(new Shapes(found, name), { imageSize: 1024, crossAttentionHeads: 4 }, name);
      assert.deepEqual(sorted(results(layout)), sorted(expected));
      checkLayout(layout, found, name);
      file.close();
    }
  });
});
