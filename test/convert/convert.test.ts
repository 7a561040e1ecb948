import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { SanaError } from '../../lib/base/errors.ts';
import { checkTensors, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { wasTrainedInFp16 } from '../../lib/checkpoint/fp16.ts';
import { readTensors, type Tensor, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { type Conversion, type ConvertOptions, convertCheckpoint } from '../../lib/convert/convert.ts';
import { openInputFile } from '../../lib/convert/input-file.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, openFile, temporaryFolder } from '../support/files.ts';
import { officialAutoencoder, officialTransformer, type Values } from '../support/official-names.ts';
import { pictures, small, tinyModel } from '../support/pipelines.ts';
import { pickle, torchEntries, torchFile, zipFile } from '../support/torch-writer.ts';

const WEIGHTS = 'diffusion_pytorch_model';

/** Every tensor of a component's folder. */
async function componentTensors(folder: string): Promise<Map<string, Tensor>> {
  const all = new Map<string, Tensor>();
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.safetensors'))) {
    for (const [tensor, value] of await readTensors(join(folder, name), openFile)) all.set(tensor, value);
  }
  return all;
}

/** The tensors of a fixture under their official names, with everything else that official files contain. */
async function official(name: string, component: string): Promise<Map<string, Values>> {
  const tensors = (await componentTensors(fixture(name, component))) as Map<string, Values>;
  if (component === 'vae') return officialAutoencoder(tensors);
  const files = officialTransformer(tensors);
  files.set('pos_embed', { shape: [1, 1024, 64], data: new Float32Array(1024 * 64) });
  files.set('y_embedder.y_embedding', { shape: [30, 64], data: new Float32Array(30 * 64) });
  return files;
}

const readJson = (...path: string[]) => JSON.parse(readFileSync(join(...path), 'utf8').replace('-Infinity', 'null'));
const bf16 = (data: Float32Array) =>
  Uint16Array.from(new Uint32Array(data.buffer, data.byteOffset, data.length), (bits) => bits >>> 16);

describe('converting', () => {
  const folder = temporaryFolder();
  const at = (...parts: string[]) => join(folder.path, ...parts);
  const tiny = { crossAttentionHeads: 4, imageSize: 1024 } as const; // what the fixtures' width does not tell
  let made = 0;

  /** Converts a file with these contents to a new folder. */
  async function convert(
    contents: Uint8Array,
    options: Partial<ConvertOptions> = {},
    name = `${made++}.pth`,
  ): Promise<Conversion> {
    writeFileSync(at(name), contents);
    return await convertCheckpoint({ input: at(name), output: at(`out-${made++}`), ...options });
  }

  /** Fails, and leaves the temporary folder as it was except for the file. */
  async function assertRefused(
    contents: Uint8Array,
    check: (error: unknown) => true,
    options: Partial<ConvertOptions> = tiny,
  ): Promise<void> {
    const name = `${made++}.pth`;
    const before = [...readdirSync(folder.path), name].sort();
    await assert.rejects(convert(contents, options, name), check);
    assert.deepEqual(readdirSync(folder.path).sort(), before);
  }

  const cases = [
    ['sana-base', 'transformer', tiny],
    ['sana15', 'transformer', tiny],
    ['sana-sprint', 'transformer', tiny],
    ['sana-2k', 'transformer', { ...tiny, imageSize: 2048 }],
    ['sana-4k', 'transformer', { ...tiny, imageSize: 4096 }],
    ['sana-controlnet', 'controlnet', tiny],
    ['sana-base', 'vae', {}],
  ] as const;
  for (const [name, component, options] of cases) {
    it(`${name}/${component}, under its official names in a torch file, comes back as it was`, async () => {
      const source = await official(name, component);
      const dropped = component === 'vae' ? [] : ['pos_embed', 'y_embedder.y_embedding'];
      if (component === 'controlnet') {
        source.set('blocks.0.scale_shift_table', { shape: [6, 64], data: new Float32Array(384) });
        dropped.push('blocks.0.scale_shift_table');
      }
      const conversion = await convert(torchFile(source, { key: 'state_dict' }), options);
      const expected = await componentTensors(fixture(name, component));
      assert.deepEqual(new Map([...(await componentTensors(conversion.folder))].sort()), new Map([...expected].sort()));
      const { _diffusers_version: _, ...config } = readJson(fixture(name, component, 'config.json'));
      assert.deepEqual(readJson(conversion.folder, 'config.json'), config);
      assert.deepEqual(readdirSync(conversion.folder).sort(), ['config.json', `${WEIGHTS}.safetensors`]);
      assert.deepEqual([conversion.component, conversion.tensors, conversion.warnings], [component, expected.size, []]);
      assert.deepEqual([...conversion.dropped].sort(), dropped.sort());
    });
  }

  it('a safetensors file with the official names is also converted back', async () => {
    await writeSafetensors(at('Sana_tiny_1024px.safetensors'), await official('sana-base', 'transformer'));
    const { folder: output } = await convertCheckpoint({
      input: at('Sana_tiny_1024px.safetensors'),
      output: at('from-safetensors'),
      crossAttentionHeads: 4,
    });
    const expected = await componentTensors(fixture('sana-base', 'transformer'));
    assert.deepEqual(new Map([...(await componentTensors(output))].sort()), new Map([...expected].sort()));
  });

  it('a whole pipeline draws the same picture, its other parts being links of the base', async () => {
    const progress: number[] = [];
    const conversion = await convert(torchFile(await official('sana-base', 'transformer')), {
      ...tiny,
      base: tinyModel,
      onProgress: ({ writtenBytes, totalBytes }) => progress.push(writtenBytes / totalBytes),
    });
    assert.deepEqual([progress[0], progress.at(-1)], [0, 1]);
    assert.deepEqual(
      progress,
      [...progress].sort((a, b) => a - b),
    );
    const names = ['model_index.json', 'scheduler', 'text_encoder', 'tokenizer', 'transformer', 'vae'];
    assert.deepEqual(readdirSync(conversion.folder).sort(), names);
    const drawn = await Promise.all(
      [tinyModel, conversion.folder].map(async (model) => {
        await using pipe = await SanaPipeline.fromPretrained(model, { device: 'cpu', dtype: 'float32' });
        return pictures(await pipe.generate(small));
      }),
    );
    assert.deepEqual(drawn[1], drawn[0]);
    // One file under two names, unless the two folders are on different disks.
    const [there, here] = [tinyModel, conversion.folder].map((model) =>
      statSync(join(model, 'text_encoder', 'model.safetensors')),
    );
    if (there?.dev === here?.dev) assert.equal(here?.ino, there?.ino);
  });

  for (const [name, options, className, scheduler, shift] of [
    ['sana-sprint', tiny, 'SanaSprintPipeline', 'SCMScheduler', undefined],
    ['sana-4k', { ...tiny, imageSize: 4096 }, 'SanaPipeline', 'DPMSolverMultistepScheduler', 6],
    ['sana15', tiny, 'SanaPipeline', 'DPMSolverMultistepScheduler', 3],
  ] as const) {
    it(`a pipeline of ${name} opens, with the scheduler of its kind whatever the base has`, async () => {
      const contents = torchFile(await official(name, 'transformer'));
      const { folder: output } = await convert(contents, { ...options, base: tinyModel });
      const checkpoint = await openCheckpoint(output, { openFile });
      const expected = await componentTensors(fixture(name, 'transformer'));
      checkTensors(checkpoint.transformer, new Map([...expected].map(([tensor, { shape }]) => [tensor, shape])));
      assert.equal(checkpoint.className, className);
      assert.equal(checkpoint.scheduler.className, scheduler);
      if ('flowShift' in checkpoint.scheduler) assert.equal(checkpoint.scheduler.flowShift, shift);
      checkpoint.close();
    });
  }

  it('a ControlNet and an autoencoder keep the scheduler and the transformer of the base', async () => {
    for (const [name, component, className] of [
      ['sana-controlnet', 'controlnet', 'SanaControlNetPipeline'],
      ['sana-base', 'vae', 'SanaPipeline'],
    ] as const) {
      const options = component === 'vae' ? {} : tiny;
      const { folder: output } = await convert(torchFile(await official(name, component)), {
        ...options,
        base: tinyModel,
      });
      const checkpoint = await openCheckpoint(output, { openFile });
      assert.equal(checkpoint.className, className);
      assert.equal(checkpoint.transformer.files.length, 3);
      assert.equal('flowShift' in checkpoint.scheduler && checkpoint.scheduler.flowShift, 3);
      checkpoint.close();
    }
  });

  it('splits what is larger than the maximum file size, and the index has the place of every tensor', async () => {
    const contents = torchFile(await official('sana-base', 'transformer'));
    const { folder: output } = await convert(contents, { ...tiny, base: tinyModel, shardBytes: 300_000 });
    const files = readdirSync(join(output, 'transformer')).filter((name) => name.endsWith('.safetensors'));
    assert.ok(files.length > 2 && files[0] === `${WEIGHTS}-00001-of-0000${files.length}.safetensors`);
    for (const name of files) assert.ok(statSync(join(output, 'transformer', name)).size < 310_000);
    const index = readJson(output, 'transformer', `${WEIGHTS}.safetensors.index.json`);
    const expected = await componentTensors(fixture('sana-base', 'transformer'));
    assert.deepEqual(Object.keys(index.weight_map), [...expected.keys()].sort());
    assert.equal(
      index.metadata.total_size,
      [...expected.values()].reduce((sum, { data }) => sum + data.byteLength, 0),
    );
    (await openCheckpoint(output, { openFile })).close();
    assert.deepEqual(
      new Map([...(await componentTensors(join(output, 'transformer')))].sort()),
      new Map([...expected].sort()),
    );
  });

  describe('element types', () => {
    let source: Map<string, Values>;
    before(async () => {
      source = await official('sana-base', 'vae');
    });
    const stored = async (conversion: Conversion) => {
      const bytes = readFileSync(join(conversion.folder, `${WEIGHTS}.safetensors`));
      const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE())));
      return new Set(Object.values<{ dtype?: string }>(header).flatMap(({ dtype }) => dtype ?? []));
    };

    it('are kept, or converted to the requested one', async () => {
      const halves = new Map([...source].map(([name, { shape, data }]) => [name, { shape, data: bf16(data) }]));
      assert.deepEqual(await stored(await convert(torchFile(source))), new Set(['F32']));
      assert.deepEqual(await stored(await convert(torchFile(halves))), new Set(['BF16']));
      assert.deepEqual(await stored(await convert(torchFile(halves, { half: 'HalfStorage' }))), new Set(['F16']));
      const narrowed = await convert(torchFile(source), { dtype: 'bf16' });
      assert.deepEqual(await stored(narrowed), new Set(['BF16']));
      assert.equal(narrowed.bytes * 2, (await convert(torchFile(source))).bytes);
      const widened = await convert(torchFile(halves), { dtype: 'f32' });
      assert.deepEqual(await stored(widened), new Set(['F32']));
      const there = await componentTensors(fixture('sana-base', 'vae'));
      for (const [name, { data }] of await componentTensors(widened.folder)) {
        const expected = there.get(name)?.data;
        assert.ok(expected instanceof Float32Array && data instanceof Float32Array);
        assert.deepEqual(bf16(data), bf16(expected)); // cut off, as the test did
      }
    });

    it('may be mixed', async () => {
      const mixed = new Map<string, { shape: readonly number[]; data: Float32Array | Uint16Array }>(source);
      for (const [name, { shape, data }] of source)
        if (name.endsWith('.bias')) mixed.set(name, { shape, data: bf16(data) });
      const conversion = await convert(torchFile(mixed));
      assert.deepEqual(await stored(conversion), new Set(['F32', 'BF16']));
      assert.equal(
        (await componentTensors(conversion.folder)).size,
        (await componentTensors(fixture('sana-base', 'vae'))).size,
      );
    });

    it('that cannot represent the values are rejected', async () => {
      const large = new Map(source);
      large.set('decoder.project_in.main.conv.bias', { shape: [64], data: new Float32Array(64).fill(1e6) });
      await assertRefused(
        torchFile(large),
        sanaError('ERR_SANA_MODEL', 'decoder.project_in.main.conv.bias', 'too large for f16'),
        { dtype: 'f16' },
      );
    });

    it('that would hide that a model was trained in fp16 are rejected, and those that would suggest it cause a warning', async () => {
      const fp32 = await official('sana-base', 'transformer');
      const fp16 = new Map(
        [...fp32].map(([name, { shape, data }]) => [
          name,
          { shape, data: data.map((x) => Math.round(x * 1024) / 1024) },
        ]),
      );
      assert.equal((await convert(torchFile(fp16), { ...tiny, dtype: 'f16' })).warnings.length, 0);
      await assertRefused(torchFile(fp16), sanaError('ERR_SANA_ARGUMENT', 'was trained in fp16'), {
        ...tiny,
        dtype: 'bf16',
      });
      assert.match(
        (await convert(torchFile(fp32), { ...tiny, dtype: 'f16' })).warnings.join(),
        /will be loaded as if it was/,
      );
      const { folder: output } = await convert(torchFile(fp16), { ...tiny, base: tinyModel });
      const checkpoint = await openCheckpoint(output, { openFile });
      assert.equal(await wasTrainedInFp16(checkpoint.transformer), true);
      checkpoint.close();
    });
  });

  /** Dictionaries of tensors, each below its key, and what else is to be there. */
  function nested(states: Readonly<Record<string, ReadonlyMap<string, Values>>>, ...more: Uint8Array[]): Buffer {
    const storages: Uint8Array[] = [];
    const items = Object.entries(states).flatMap(([key, tensors]) => {
      const state = [...tensors].flatMap(([name, { shape, data }]) => {
        storages.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        const storage = pickle.storage('FloatStorage', String(storages.length - 1), data.length);
        return [pickle.text(name), pickle.tensor(storage, 0, shape)];
      });
      return [pickle.text(key), pickle.dict(...state, ...more)];
    });
    return zipFile(torchEntries(pickle.file(pickle.dict(...items)), storages));
  }

  it('uses the trained weights, or their average if requested', async () => {
    const trained = await official('sana-base', 'vae');
    const average = new Map(
      [...trained].map(([name, { shape, data }]) => [name, { shape, data: data.map((x) => x / 2) }]),
    );
    const both = nested({ state_dict: trained, state_dict_ema: average });
    const value = async (conversion: Conversion) =>
      (await componentTensors(conversion.folder)).get('decoder.conv_out.bias')?.data[0] ?? Number.NaN;
    const there = await value(await convert(both));
    assert.equal(await value(await convert(both, { weights: 'ema' })), there / 2);
    await assertRefused(
      torchFile(trained, { key: 'state_dict' }),
      sanaError('ERR_SANA_MODEL', 'holds no state_dict_ema: there is "state_dict", "epoch"'),
      { weights: 'ema' },
    );
  });

  it('reports what it skipped', async () => {
    const contents = nested({ model: await official('sana-base', 'vae') }, pickle.text('version'), pickle.integer(2));
    assert.deepEqual((await convert(contents)).warnings, ['ignored, because they are not tensors: version']);
  });

  it('rejects files that could run code, and leaves no files behind', async () => {
    for (const name of ['reduce.pth', 'reduce4.pth']) {
      const code = sanaError('ERR_SANA_MODEL', '"posix.system"', 'can run code');
      await assertRefused(readFileSync(fixture('torch', 'hostile', name)), code);
    }
  });

  it('rejects tensors that are larger than the file', async () => {
    const source = await official('sana-base', 'transformer');
    const [, one] = [...source].find(([name]) => name.endsWith('attn.qkv.weight')) ?? assert.fail();
    // One storage as large as the largest tensor, and every tensor in it.
    const largest = Math.max(...[...source.values()].map(({ data }) => data.length));
    const storage = pickle.storage('FloatStorage', '0', largest);
    const items = [...source].flatMap(([name, { shape }]) => [pickle.text(name), pickle.tensor(storage, 0, shape)]);
    const contents = zipFile(torchEntries(pickle.file(pickle.dict(...items)), [new Uint8Array(4 * largest)]));
    assert.ok(one.data.length < largest);
    await assertRefused(contents, sanaError('ERR_SANA_MODEL', 'they share storages'));
  });

  it('rejects what is already in the diffusers layout, and choices that a model does not have', async () => {
    const already = await componentTensors(fixture('sana-base', 'vae'));
    await assertRefused(
      torchFile(already as Map<string, Values>),
      sanaError('ERR_SANA_MODEL', 'diffusers layout already'),
    );
    const vae = torchFile(await official('sana-base', 'vae'));
    await assertRefused(vae, sanaError('ERR_SANA_ARGUMENT', '`imageSize`', 'autoencoder'));
    const transformer = torchFile(await official('sana-base', 'transformer'));
    for (const [crossAttentionHeads, message] of [
      [3, '3 cross-attention heads do not divide them'],
      [undefined, 'number of cross-attention heads'],
    ] as const) {
      const options = crossAttentionHeads === undefined ? {} : { crossAttentionHeads };
      await assertRefused(transformer, sanaError('ERR_SANA_MODEL', '64 channels', message), options);
    }
  });

  it('rejects a base that lacks what the pipeline needs, or that leads outside itself', async () => {
    const contents = torchFile(await official('sana-base', 'transformer'));
    const bases: [string, (base: string) => void, string][] = [
      ['without a tokenizer', (base) => rmSync(join(base, 'tokenizer'), { recursive: true }), 'holds no tokenizer/'],
      [
        'without a vae config',
        (base) => rmSync(join(base, 'vae', 'config.json')),
        join('vae', 'config.json: is not there'),
      ],
      [
        'with a link to elsewhere',
        (base) => {
          rmSync(join(base, 'vae', 'config.json'));
          symlinkSync(fixture('sana-base', 'vae', 'config.json'), join(base, 'vae', 'config.json'));
        },
        'leads out of the folder',
      ],
    ];
    for (const [name, damage, message] of bases) {
      const base = at(`base ${name}`);
      cpSync(tinyModel, base, { recursive: true });
      damage(base);
      await assertRefused(contents, sanaError('ERR_SANA_MODEL', message), { ...tiny, base });
    }
    await assertRefused(contents, sanaError('ERR_SANA_FILE', 'nowhere'), { ...tiny, base: at('nowhere') });
  });

  describe('if the output exists', () => {
    let contents: Uint8Array;
    before(async () => {
      contents = torchFile(await official('sana-base', 'vae'));
    });

    it('fills an empty folder, and makes those above it', async () => {
      mkdirSync(at('empty'));
      await convert(contents, { output: at('empty') });
      await convert(contents, { output: at('deep', 'er', 'vae') });
      assert.ok(existsSync(at('deep', 'er', 'vae', 'config.json')) && existsSync(at('empty', 'config.json')));
    });

    it('replaces a model only if told to, and never anything else', async () => {
      const { folder: output } = await convert(contents);
      writeFileSync(join(output, 'old.txt'), 'old');
      await assert.rejects(convert(contents, { output }), sanaError('ERR_SANA_FILE', output, 'already exists'));
      assert.ok(existsSync(join(output, 'old.txt')));
      await convert(contents, { output, force: true });
      assert.deepEqual(readdirSync(output).sort(), ['config.json', `${WEIGHTS}.safetensors`]);

      mkdirSync(at('documents'));
      writeFileSync(at('documents', 'letter.txt'), 'dear');
      const options = { output: at('documents'), force: true };
      await assert.rejects(convert(contents, options), sanaError('ERR_SANA_FILE', 'it is not a model'));
      assert.equal(readFileSync(at('documents', 'letter.txt'), 'utf8'), 'dear');

      writeFileSync(at('a-file'), 'x');
      await assert.rejects(
        convert(contents, { output: at('a-file'), force: true }),
        sanaError('ERR_SANA_FILE', 'not a folder'),
      );
      await assert.rejects(convert(contents, { output: at('a-file', 'below') }), sanaError('ERR_SANA_FILE', 'a-file'));
    });

    it('never removes the file that it converts', async () => {
      const { folder: output } = await convert(contents);
      const input = join(output, 'original.pth');
      writeFileSync(input, contents);
      await assert.rejects(
        convertCheckpoint({ input, output, force: true }),
        sanaError('ERR_SANA_FILE', `'${input}' is inside it`),
      );
      assert.ok(existsSync(input));
    });

    it('replaces the pipeline that it copies the other parts from', async () => {
      const base = at('in-place');
      cpSync(tinyModel, base, { recursive: true });
      await convert(contents, { base, output: base, force: true });
      (await openCheckpoint(base, { openFile })).close();
      const index = readJson(base, 'model_index.json');
      assert.equal(index._class_name, 'SanaPipeline');
    });
  });

  it('an abort at any time leaves no files behind', async () => {
    const contents = torchFile(await official('sana-base', 'transformer'));
    writeFileSync(at('aborted.pth'), contents);
    const before = readdirSync(folder.path).sort();
    for (let piece = 0; piece <= 73; piece += 1) {
      const controller = new AbortController();
      let pieces = 0;
      const conversion = convertCheckpoint({
        input: at('aborted.pth'),
        output: at('never', 'made'),
        base: tinyModel,
        ...tiny,
        signal: controller.signal,
        onProgress: () => {
          if (pieces++ === piece) controller.abort(new Error('enough'));
        },
      });
      await assert.rejects(conversion, /enough/);
      assert.deepEqual(readdirSync(folder.path).sort(), before);
    }
  });

  it('a file that shrinks while it is converted is an error that leaves no files behind', async () => {
    const contents = torchFile(await official('sana-base', 'transformer'));
    writeFileSync(at('shrinking.pth'), contents);
    const before = readdirSync(folder.path).sort();
    const conversion = convertCheckpoint({
      input: at('shrinking.pth'),
      output: at('shrunk'),
      ...tiny,
      onProgress: ({ writtenBytes }) => {
        if (writtenBytes === 0) writeFileSync(at('shrinking.pth'), contents.subarray(0, contents.length / 3));
      },
    });
    await assert.rejects(conversion, sanaError('ERR_SANA_FILE', 'shrinking.pth', 'became shorter'));
    assert.deepEqual(readdirSync(folder.path).sort(), before);
  });

  it('a file that is not there, a folder and a pipe are errors', async () => {
    for (const input of [at('none.pth'), folder.path, '/dev/null']) {
      await assert.rejects(convertCheckpoint({ input, output: at('x') }), (error: unknown) => {
        assert.ok(error instanceof SanaError && error.code === 'ERR_SANA_FILE');
        return true;
      });
    }
    const file = openInputFile(fixture('torch', 'plain.pth'));
    await assert.rejects(file.read(file.bytes - 1, 2), sanaError('ERR_SANA_FILE', 'not inside'));
    file.close();
    file.close();
    await assert.rejects(file.read(0, 1), sanaError('ERR_SANA_FILE', 'closed'));
  });
});
