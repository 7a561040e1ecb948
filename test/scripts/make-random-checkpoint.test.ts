import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { SanaError } from '../../lib/base/errors.ts';
import {
  components,
  gemmaTokenizer,
  type RandomCheckpointOptions,
  tokenizerFrom,
  writeRandomCheckpoint,
} from '../../scripts/random-checkpoint/checkpoint.ts';
import { type CheckpointConfigs, type TinyDimensions, tinyConfigs } from '../../scripts/random-checkpoint/configs.ts';
import { allocate, GaussianStream, GaussianTables } from '../../scripts/random-checkpoint/gaussian.ts';
import { readComponent, readSafetensors, type StoredTensor } from './read-safetensors.ts';

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url));
const fixture = join(fixtures, 'sana-base');
const script = fileURLToPath(new URL('../../scripts/make-random-checkpoint.ts', import.meta.url));

/** The fixture's own dimensions. */
const dimensions: TinyDimensions = {
  layers: 3,
  heads: 2,
  crossHeads: 4,
  textLayers: 3,
  textHidden: 64,
  textHeads: 4,
  textKvHeads: 2,
  textHeadDim: 32,
  vaeWidth: 8,
  vaeLayers: 1,
};

/** The fixtures that contain what is different in another kind, and their dimensions. */
const others: readonly [string, Partial<TinyDimensions>][] = [
  ['sana15', { kind: 'sana-1.5', layers: 2 }],
  ['sana-sprint', { kind: 'sprint', layers: 2 }],
  ['sana-2k', { kind: 'sana-2k', layers: 1 }],
  ['sana-4k', { kind: 'sana-4k', layers: 1 }],
  ['sana-controlnet', { controlLayers: 2 }],
];

describe('make-random-checkpoint', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sana-checkpoint-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function write(name: string, changes: Partial<RandomCheckpointOptions> = {}): Promise<string> {
    const tokenizer = await tokenizerFrom(join(fixture, 'tokenizer'));
    const configs = tinyConfigs(dimensions, tokenizer.vocabSize);
    const target = join(folder, name);
    await writeRandomCheckpoint(target, { configs, tokenizer, variant: 'none', seed: 0, ...changes });
    return target;
  }

  it('names and shapes tensors as the fixture does', async () => {
    const tokenizer = await tokenizerFrom(join(fixture, 'tokenizer'));
    const configs = tinyConfigs(dimensions, tokenizer.vocabSize);
    // The fixture's deepest decoder stage has two blocks, all its other stages have one.
    const vae = { ...configs.vae, decoder_layers_per_block: [1, 1, 1, 1, 1, 2] };
    for (const { folder: component, tensors } of components({ ...configs, vae })) {
      const expected = shapes(readComponent(join(fixture, component)));
      const actual = new Map(tensors.map((tensor) => [tensor.name, tensor.shape.join('x')]));
      assert.deepEqual(sorted(actual), sorted(expected), component);
    }
  });

  it('writes configs with exactly the keys of the fixture', async () => {
    const target = await write('a');
    const files = ['model_index.json', ...['text_encoder', 'transformer', 'vae'].map((name) => `${name}/config.json`)];
    for (const file of [...files, 'scheduler/scheduler_config.json']) {
      const keys = (root: string): string[] => Object.keys(readConfig(join(root, file)));
      const expected = keys(fixture).filter((key) => key !== '_name_or_path');
      assert.deepEqual(keys(target), expected, file);
    }
    const scheduler = readFileSync(join(target, 'scheduler/scheduler_config.json'), 'utf8');
    assert.match(scheduler, /"lambda_min_clipped": -Infinity,/);
    assert.deepEqual(
      readConfig(join(target, 'scheduler/scheduler_config.json')).flow_shift,
      readConfig(join(fixture, 'scheduler/scheduler_config.json')).flow_shift,
    );
  });

  for (const [name, changes] of others) {
    it(`makes the contents of ${name}: the same tensors, keys and values`, async () => {
      const tokenizer = await tokenizerFrom(join(fixture, 'tokenizer'));
      const configs: CheckpointConfigs = tinyConfigs({ ...dimensions, ...changes }, tokenizer.vocabSize);
      const target = await write('a', { configs });
      for (const component of ['transformer', 'controlnet']) {
        if (!existsSync(join(fixtures, name, component))) continue;
        const expected = shapes(readComponent(join(fixtures, name, component)));
        assert.deepEqual(sorted(shapes(readComponent(join(target, component)))), sorted(expected), component);
        assertSameConfig(join(target, component, 'config.json'), join(fixtures, name, component, 'config.json'));
      }
      const files = ['model_index.json', 'scheduler/scheduler_config.json'];
      for (const file of files.filter((each) => existsSync(join(fixtures, name, each)))) {
        assertSameConfig(join(target, file), join(fixtures, name, file));
      }
    });
  }

  it('gives the same bytes for the same seed and other values for another', async () => {
    const [a, b, c] = [await write('a', { seed: 7 }), await write('b', { seed: 7 }), await write('c', { seed: 8 })];
    assert.equal(digest(a), digest(b));
    assert.notEqual(digest(a), digest(c));
  });

  it('draws the same values on every machine, however they are split', () => {
    const table = new GaussianTables('F32').get(0, 1);
    const whole = allocate('F32', 100_001);
    new GaussianStream(7, 'name', table).fill(whole, 0, whole.length);
    const pieces = allocate('F32', whole.length);
    const stream = new GaussianStream(7, 'name', table);
    for (let start = 0, size = 1; start < pieces.length; start += size++) {
      stream.fill(pieces, start, Math.min(start + size, pieces.length));
    }
    assert.deepEqual(pieces, whole);
    assert.equal(
      createHash('sha256').update(whole).digest('hex'),
      'dacb2fc8afd5f547dd0749f2ab27ec0f66477ba9b2342a676cfc011dff891bd9',
    );
  });

  it('stores in bf16 and f16 the rounded values of the f32 checkpoint, however it is cut', async () => {
    const f32 = readComponent(join(await write('none'), 'transformer'));
    const bf16 = readComponent(join(await write('bf16', { variant: 'bf16', shardBytes: 100_000 }), 'transformer'));
    const fp16 = readComponent(join(await write('fp16', { variant: 'fp16', shardBytes: 50_001 }), 'transformer'));
    assert.ok(f32.size > 0);
    for (const [name, { values }] of f32) {
      const check = (other: Map<string, StoredTensor>, bits: number): void => {
        const rounded = other.get(name)?.values ?? [];
        assert.equal(rounded.length, values.length);
        for (const [i, value] of values.entries()) {
          // Half a unit in the last place, of the least normal f16 for the tiniest values.
          const tolerance = Math.max(Math.abs(value) * 2 ** -bits, bits === 11 ? 2 ** -25 : 0);
          assert.ok(Math.abs((rounded[i] ?? Number.NaN) - value) <= tolerance, `${name}[${i}]`);
        }
      };
      check(bf16, 8);
      check(fp16, 11);
    }
  });

  it('draws values with the mean and deviation of the table', async () => {
    const target = await write('a');
    const configs = tinyConfigs(dimensions, 1233);
    for (const { folder: component, tensors } of components(configs)) {
      const stored = readComponent(join(target, component));
      for (const { name, mean, std } of tensors) {
        const values = stored.get(name)?.values ?? [];
        assert.ok(values.every(Number.isFinite), name);
        if (values.length < 2000) continue;
        const average = values.reduce((sum, value) => sum + value, 0) / values.length;
        const variance = values.reduce((sum, value) => sum + (value - average) ** 2, 0) / values.length;
        assert.ok(Math.abs(average - mean) < (5 * std) / Math.sqrt(values.length), `${name}: mean ${average}`);
        assert.ok(Math.abs(Math.sqrt(variance) / std - 1) < 5 / Math.sqrt(2 * values.length), `${name}: ${variance}`);
      }
    }
  });

  it('writes files as the reference does: format noted, names sorted, data on an 8-byte boundary', async () => {
    const path = join(await write('a'), 'vae/diffusion_pytorch_model.safetensors');
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    assert.equal(length % 8, 0);
    assert.deepEqual(JSON.parse(bytes.subarray(8, 8 + length).toString('utf8')).__metadata__, { format: 'pt' });
    const names = [...readSafetensors(path).keys()];
    assert.deepEqual(names, [...names].sort());
  });

  it('names variants, shards and indexes as released repositories do', async () => {
    const target = await write('a', { variant: 'bf16', shardBytes: 300_000 });
    assert.deepEqual(readdirSync(join(target, 'transformer')).sort(), [
      'config.json',
      'diffusion_pytorch_model.bf16-00001-of-00002.safetensors',
      'diffusion_pytorch_model.bf16-00002-of-00002.safetensors',
      'diffusion_pytorch_model.safetensors.index.bf16.json',
    ]);
    const index = JSON.parse(
      readFileSync(join(target, 'transformer/diffusion_pytorch_model.safetensors.index.bf16.json'), 'utf8'),
    );
    const stored = readComponent(join(target, 'transformer'));
    assert.deepEqual(Object.keys(index.weight_map), [...stored.keys()].sort());
    for (const [name, file] of Object.entries(index.weight_map)) assert.equal(stored.get(name)?.file, file);
    const bytes = [...stored.values()].reduce((sum, tensor) => sum + 2 * tensor.values.length, 0);
    assert.equal(index.metadata.total_size, bytes);
    const whole = await write('b');
    assert.deepEqual(readdirSync(join(whole, 'text_encoder')).sort(), ['config.json', 'model.safetensors']);
  });

  it('uses the Gemma vocabulary of 256000 entries', async () => {
    const tokenizer = await gemmaTokenizer();
    assert.equal(tokenizer.vocabSize, 256000);
    assert.deepEqual([...tokenizer.files.keys()].sort(), [
      'special_tokens_map.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });

  it('rejects a folder that is not empty, and with force replaces only checkpoints', async () => {
    const target = await write('a', { seed: 1 });
    const before = digest(target);
    await assert.rejects(
      write('a', { seed: 2 }),
      (error) => error instanceof SanaError && error.code === 'ERR_SANA_FILE',
    );
    assert.equal(digest(target), before);
    await write('a', { seed: 2, force: true });
    assert.notEqual(digest(target), before);
    const other = join(folder, 'other');
    mkdirSync(other);
    writeFileSync(join(other, 'letter.txt'), 'dear');
    await assert.rejects(write('other', { force: true }), /not a checkpoint/);
    assert.deepEqual(readdirSync(other), ['letter.txt']);
  });

  it('leaves no files behind if it is aborted', async () => {
    const controller = new AbortController();
    const aborted = write('a', {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await assert.rejects(aborted, /enough/);
    assert.deepEqual(readdirSync(folder), []);
  });

  it('writes a small model of any dimensions from the command line', async () => {
    const target = join(folder, 'cli');
    const args = ['--layers', '2', '--heads', '3', '--cross-heads', '6', '--text-layers', '1', '--vae-width', '16'];
    await promisify(execFile)(process.execPath, [
      ...['--import', 'tsx', script, '--tiny', ...args, '--variant', 'none'],
      ...['--tokenizer', join(fixture, 'tokenizer'), '-o', target],
    ]);
    assert.ok(existsSync(join(target, 'model_index.json')));
    const transformer = readConfig(join(target, 'transformer/config.json'));
    assert.equal(transformer.num_layers, 2);
    assert.equal(transformer.cross_attention_head_dim, 16);
    const stored = shapes(readComponent(join(target, 'transformer')));
    assert.equal(stored.get('transformer_blocks.1.ff.conv_inverted.weight'), '480x96x1x1');
    assert.equal(shapes(readComponent(join(target, 'vae'))).get('decoder.norm_out.weight'), '16');
  });

  it('writes a small model of another kind, with a ControlNet, from the command line', async () => {
    const target = join(folder, 'cli');
    await promisify(execFile)(process.execPath, [
      ...['--import', 'tsx', script, '--tiny', '--kind', 'sana-2k', '--control-layers', '1', '--layers', '2'],
      ...['--tokenizer', join(fixture, 'tokenizer'), '-o', target],
    ]);
    assert.equal(readConfig(join(target, 'transformer/config.json')).sample_size, 64);
    assert.equal(readConfig(join(target, 'model_index.json'))._class_name, 'SanaControlNetPipeline');
    assert.deepEqual(readdirSync(join(target, 'controlnet')).sort(), [
      'config.json',
      'diffusion_pytorch_model.bf16.safetensors',
    ]);
  });

  it('rejects a variant, a size and a ControlNet that a model was not released with', async () => {
    for (const [args, message] of [
      [['--model', '1.5-1.6b', '--variant', 'fp16'], /1.5-1.6b was released without variants/],
      [['--model', 'sprint-0.6b', '--size', '512'], /`size` to be one that sprint-0.6b has: 1024/],
      [['--model', '1.5-1.6b', '--controlnet'], /`controlnet` to be for 0.6b or 1.6b at 1024 pixels/],
    ] as const) {
      const call = promisify(execFile)(process.execPath, [
        ...['--import', 'tsx', script, '--tokenizer', join(fixture, 'tokenizer'), '-o', join(folder, 'cli'), ...args],
      ]);
      await assert.rejects(call, ({ stderr }) => message.test(stderr));
    }
    assert.deepEqual(readdirSync(folder), []);
  });
});

function shapes(tensors: Map<string, StoredTensor>): Map<string, string> {
  return new Map([...tensors].map(([name, tensor]) => [name, tensor.shape.join('x')]));
}

function sorted(map: Map<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function assertSameConfig(actual: string, expected: string): void {
  const version = { _diffusers_version: '' };
  assert.deepEqual({ ...readConfig(actual), ...version }, { ...readConfig(expected), ...version }, actual);
}

function readConfig(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, 'utf8').replace('-Infinity', 'null'));
}

/** A hash of the weights and index files of a checkpoint. */
function digest(folder: string): string {
  const hash = createHash('sha256');
  for (const component of ['transformer', 'vae', 'text_encoder']) {
    for (const file of readdirSync(join(folder, component)).sort())
      hash.update(file).update(readFileSync(join(folder, component, file)));
  }
  return hash.digest('hex');
}
