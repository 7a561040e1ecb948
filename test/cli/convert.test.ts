import assert from 'node:assert/strict';
import { existsSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors } from '../../lib/checkpoint/tensor-file.ts';
import { releasedConfigs } from '../../scripts/random-checkpoint/configs.ts';
import { transformerTensors } from '../../scripts/random-checkpoint/tensors.ts';
import { type CliResult, sanaNative } from '../support/cli.ts';
import { fixture, openFile, temporaryFolder } from '../support/files.ts';
import { officialAutoencoder, officialTransformer, type Values } from '../support/official-names.ts';
import { tinyModel } from '../support/pipelines.ts';
import { torchFile } from '../support/torch-writer.ts';

describe('sana-native convert', () => {
  const folder = temporaryFolder();
  const at = (...parts: string[]) => join(folder.path, ...parts);
  before(async () => {
    const path = fixture('sana-base', 'vae', 'diffusion_pytorch_model.safetensors');
    const tensors = (await readTensors(path, openFile)) as Map<string, Values>;
    writeFileSync(at('dc-ae.pth'), torchFile(officialAutoencoder(tensors), { key: 'state_dict' }));
    writeFileSync(at('made'), '');
  });

  it('prints the folder it made, and makes it again only with --force', async () => {
    const { code, stdout, stderr } = await sanaNative(['convert', at('dc-ae.pth'), '-o', at('vae')]);
    assert.deepEqual([code, stdout.toString(), stderr], [0, `${at('vae')}\n`, '']);
    assert.deepEqual(readdirSync(at('vae')).sort(), ['config.json', 'diffusion_pytorch_model.safetensors']);
    const again = await sanaNative(['convert', at('dc-ae.pth'), '-o', at('vae')]);
    assert.match(again.stderr, /already exists\n {2}.*--force/);
    assert.equal(again.code, 1);
    const forced = ['convert', at('dc-ae.pth'), '-o', at('vae'), '--force', '--dtype', 'bfloat16', '--json'];
    const { folder: output, config, ...report } = JSON.parse((await sanaNative(forced)).stdout.toString());
    assert.deepEqual([output, config._class_name], [at('vae'), 'AutoencoderDC']);
    assert.deepEqual(Object.keys(report), ['component', 'tensors', 'bytes', 'dropped', 'warnings']);
  });

  it('makes a pipeline that draws', async () => {
    const args = ['convert', at('dc-ae.pth'), '-o', at('pipeline'), '--base', tinyModel];
    assert.equal((await sanaNative(args)).code, 0);
    const drawing = ['-W', '96', '-H', '64', '--no-use-resolution-binning', '--steps', '1', '--dtype', 'float32'];
    const made = at('fox.png');
    const { code, stderr } = await sanaNative(['generate', 'x', '--model', at('pipeline'), ...drawing, '-o', made]);
    assert.equal(code, 0, stderr);
    assert.ok(existsSync(made));
  });

  const hostile = fixture('torch', 'hostile', 'reduce.pth');
  const failures: readonly [string, readonly string[], number, RegExp][] = [
    ['no output', ['dc-ae.pth'], 2, /--output <folder>' not specified/],
    ['no file', ['-o', 'FOLDER/x'], 2, /missing required argument 'file'/i],
    [
      'a size that no model has',
      ['FOLDER/dc-ae.pth', '-o', 'FOLDER/x', '--image-size', '768'],
      2,
      /512, 1024, 2048, 4096/,
    ],
    ['an unknown dtype', ['FOLDER/dc-ae.pth', '-o', 'FOLDER/x', '--dtype', 'int8'], 2, /Allowed choices are f32, bf16/],
    ['a size for an autoencoder', ['FOLDER/dc-ae.pth', '-o', 'FOLDER/x', '--image-size', '512'], 2, /`imageSize`/],
    ['a missing file', ['FOLDER/none.pth', '-o', 'FOLDER/x'], 1, /none\.pth: cannot be read/],
    ['a base that is none', ['FOLDER/dc-ae.pth', '-o', 'FOLDER/x', '--base', 'FOLDER'], 5, /holds no text_encoder/],
    ['a file in the way', ['FOLDER/dc-ae.pth', '-o', 'FOLDER/made'], 1, /is not a folder/],
    ['no moving average', ['FOLDER/dc-ae.pth', '-o', 'FOLDER/x', '--ema'], 5, /no state_dict_ema/],
    ['code', [hostile, '-o', 'FOLDER/x'], 5, /byte 595: it names "posix\.system".*can run code/],
  ];
  it('exits with the code of the error and a one-line message, and leaves no files behind', async () => {
    const there = readdirSync(folder.path);
    const results: CliResult[] = [];
    const calls = failures.entries();
    const work = async () => {
      for (const [i, [, args]] of calls)
        results[i] = await sanaNative(['convert', ...args.map((arg) => arg.replace('FOLDER', folder.path))]);
    };
    await Promise.all([work(), work()]);
    for (const [i, [what, , code, message]] of failures.entries()) {
      assert.match(results[i]?.stderr ?? '', message, what);
      assert.equal(results[i]?.code, code, what);
      assert.equal(results[i]?.stdout.length, 0);
      assert.doesNotMatch(results[i]?.stderr ?? '', /\n\s+at /); // no stack: it was foreseen
    }
    assert.deepEqual(readdirSync(folder.path), there);
  });

  it('stops at an interrupt with 130 and leaves nothing half-written', async () => {
    // The 0.6B transformer, all zeros: a file with a header and a hole of 2.4 GB, which takes seconds to convert.
    const shapes = transformerTensors(releasedConfigs('0.6b', 1024, 256000).transformer);
    const empty = new Map(shapes.map(({ name, shape }) => [name, { shape, data: new Float32Array(0) }]));
    let end = 0;
    const header = [...officialTransformer(empty)].map(([name, { shape }]) => {
      const begin = end;
      end += shape.reduce((product, size) => product * size, 4);
      return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }] as const;
    });
    const json = Buffer.from(JSON.stringify(Object.fromEntries(header)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const input = at('Sana_600M_1024px.safetensors');
    writeFileSync(input, Buffer.concat([length, json]));
    truncateSync(input, 8 + json.length + end);

    const there = readdirSync(folder.path);
    let interrupted = false;
    const { code, stdout } = await sanaNative(['convert', input, '-o', at('never'), '--json'], '', (child) => {
      const watch = setInterval(() => {
        const partial = readdirSync(folder.path).find((name) => name.startsWith('never.partial-'));
        if (partial === undefined || !existsSync(at(partial, 'diffusion_pytorch_model.safetensors'))) return;
        clearInterval(watch);
        interrupted = child.kill('SIGINT');
      }, 5);
      child.once('close', () => clearInterval(watch));
    });
    assert.ok(interrupted);
    assert.equal(JSON.parse(stdout.toString()).error.message, 'Interrupted');
    assert.equal(code, 130);
    assert.deepEqual(readdirSync(folder.path), there);
  });
});
