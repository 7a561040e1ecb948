import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { GenerateRequest, LoadOptions, SanaErrorCode } from '../../lib/index.ts';
import { listDevices, writeLatents } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { CheckpointCopy, elementsOf, weightFiles } from '../support/checkpoints.ts';
import { sanaError } from '../support/errors.ts';
import { temporaryFolder } from '../support/files.ts';
import { loadTiny, pictures, small, tinyModel, watchDevice } from '../support/pipelines.ts';
import { assertNoMoreThan, steadyResources } from '../support/process-resources.ts';

const cpu = { device: 'cpu', dtype: 'float32' } as const;
const { textEncoder, transformer, vae } = weightFiles;
const load = (path: string, options: LoadOptions = {}) => SanaPipeline.fromPretrained(path, { ...cpu, ...options });

describe('a folder that is no checkpoint', () => {
  const folder = temporaryFolder();

  it('is rejected, with what it is instead', async () => {
    writeFileSync(join(folder.path, 'file.safetensors'), 'x');
    const cases: readonly [string, SanaErrorCode, string][] = [
      ['/nonexistent/model', 'ERR_SANA_MODEL', 'no such folder'],
      [join(folder.path, 'file.safetensors'), 'ERR_SANA_MODEL', 'single safetensors file'],
      [folder.path, 'ERR_SANA_MODEL', 'no model_index.json'],
      [join(tinyModel, 'vae'), 'ERR_SANA_MODEL', 'one component'],
      ['', 'ERR_SANA_ARGUMENT', '`model`'],
    ];
    for (const [path, code, part] of cases) {
      await assert.rejects(load(path), sanaError(code, part));
      await assert.rejects(SanaPipeline.explain(path), sanaError(code, part));
    }
    await assert.rejects(load(7 as unknown as string), sanaError('ERR_SANA_ARGUMENT', '`model`'));
  });

  it('does not leave files open, memory or threads', async () => {
    using copy = new CheckpointCopy();
    await copy.changeTensors(vae, (tensors) => {
      elementsOf(tensors, 'decoder.conv_out.bias')[0] = Number.NaN;
    });
    const device = watchDevice();
    const { bytes } = device;
    await assert.rejects(load(copy.path)); // the device that is watched starts its threads
    const before = await steadyResources();
    for (let i = 0; i < 10; i++) {
      await assert.rejects(load(copy.path), sanaError('ERR_SANA_MODEL', 'decoder.conv_out.bias'));
      await assert.rejects(load(join(tinyModel, 'vae')), sanaError('ERR_SANA_MODEL'));
    }
    assert.equal(device.bytes, bytes);
    await assertNoMoreThan(before);
    device.close();
  });
});

describe('a checkpoint that lacks something', () => {
  const missing = [
    'scheduler/scheduler_config.json',
    'text_encoder/config.json',
    'tokenizer/tokenizer.json',
    'transformer/config.json',
    'vae/config.json',
    textEncoder,
    transformer,
    vae,
  ];
  for (const file of missing) {
    it(`names ${file}`, async () => {
      using copy = new CheckpointCopy();
      rmSync(copy.file(file));
      const named = file.endsWith('vae/diffusion_pytorch_model.safetensors') ? 'vae' : file;
      const expected = sanaError('ERR_SANA_MODEL', file === textEncoder ? 'text_encoder' : named);
      await assert.rejects(load(copy.path), expected);
      await assert.rejects(SanaPipeline.explain(copy.path), expected);
    });
  }
});

describe('a weight file that is damaged', () => {
  it('is named wherever it was cut off', async () => {
    for (const file of [textEncoder, transformer, vae]) {
      const { size } = statSync(join(tinyModel, file));
      const header = 8 + Number(readFileSync(join(tinyModel, file)).readBigUInt64LE(0));
      for (const bytes of [0, 1, 7, 8, 9, header - 1, header, header + 1, Math.floor(size / 2), size - 4, size - 1]) {
        using copy = new CheckpointCopy();
        copy.truncate(file, bytes);
        await assert.rejects(load(copy.path), sanaError('ERR_SANA_MODEL', copy.file(file)), `${file} cut to ${bytes}`);
      }
    }
  });

  it('is an error, not a crash, if it shrinks after it was opened', async () => {
    using copy = new CheckpointCopy();
    await using pipe = await load(copy.path, { offload: 'sequential' });
    const expected = pictures(await pipe.generate(small));
    const whole = readFileSync(copy.file(transformer));
    copy.truncate(transformer, whole.length - 1000);
    await assert.rejects(pipe.generate(small), (error: NodeJS.ErrnoException) => {
      assert.match(String(error.code), /^ERR_SANA_(FILE|MODEL)$/);
      assert.ok(error.message.includes(copy.file(transformer)), error.message);
      return true;
    });
    writeFileSync(copy.file(transformer), whole); // the same file, whole again
    assert.deepEqual(pictures(await pipe.generate(small)), expected);
  });

  it('is named if its header is garbage', async () => {
    const garbage: readonly ((bytes: Buffer) => void)[] = [
      (bytes) => randomBytes(400).copy(bytes, 8),
      (bytes) => bytes.writeBigUInt64LE(2n ** 64n - 1n, 0),
      (bytes) => bytes.writeBigUInt64LE(0n, 0),
      (bytes) => bytes.fill(0x20, 8, 60),
      (bytes) => bytes.write('{"a":{"dtype":"F32","shape":[9999999,9999999],"data_offsets":[0,4]}', 8),
      (bytes) => bytes.fill(0xff),
    ];
    for (const change of garbage) {
      using copy = new CheckpointCopy();
      copy.changeBytes(transformer, change);
      await assert.rejects(load(copy.path), sanaError('ERR_SANA_MODEL', copy.file(transformer)));
    }
  });

  const poisoned: readonly [string, string][] = [
    [textEncoder, 'layers.1.mlp.up_proj.weight'],
    [textEncoder, 'norm.weight'],
    [transformer, 'transformer_blocks.1.attn1.to_q.weight'],
    [vae, 'decoder.conv_out.bias'],
    [vae, 'decoder.up_blocks.3.1.attn.to_k.weight'],
  ];
  for (const [file, tensor] of poisoned) {
    it(`is named, together with ${tensor}, which has a NaN or an infinity`, async () => {
      for (const value of [Number.NaN, Number.NEGATIVE_INFINITY]) {
        using copy = new CheckpointCopy();
        await copy.changeTensors(file, (tensors) => {
          const data = elementsOf(tensors, tensor);
          data[data.length - 1] = value;
        });
        for (const dtype of ['float32', 'bfloat16'] as const) {
          const expected = sanaError('ERR_SANA_MODEL', copy.file(file), tensor, '1 NaN or infinite');
          await assert.rejects(load(copy.path, { dtype }), expected);
        }
        await using pipe = await load(copy.path, { offload: 'sequential' });
        await assert.rejects(pipe.generate(small), sanaError('ERR_SANA_MODEL', copy.file(file), tensor));
      }
    });
  }

  it('is found out by its results when a token has a NaN: the rows of the table are read when they are needed', async () => {
    using copy = new CheckpointCopy();
    await copy.changeTensors(textEncoder, (tensors) => elementsOf(tensors, 'embed_tokens.weight').fill(Number.NaN));
    await using pipe = await load(copy.path);
    await assert.rejects(pipe.generate(small), sanaError('ERR_SANA_NUMERICS', 'text encoder'));
  });

  it('is found out by its results when they overflow: the step is named, or the autoencoder', async () => {
    using early = new CheckpointCopy();
    const last = 'transformer/diffusion_pytorch_model-00003-of-00003.safetensors';
    await early.changeTensors(last, (tensors) => elementsOf(tensors, 'proj_out.weight').fill(3e38));
    await using steps = await load(early.path);
    await assert.rejects(steps.generate(small), sanaError('ERR_SANA_NUMERICS', 'Step 1 of the transformer'));
    using late = new CheckpointCopy();
    await late.changeTensors(vae, (tensors) => elementsOf(tensors, 'decoder.conv_out.weight').fill(3e38));
    await using decoding = await load(late.path);
    await assert.rejects(decoding.generate(small), sanaError('ERR_SANA_NUMERICS', 'autoencoder'));
    assert.ok((await decoding.generate({ ...small, outputType: 'latent' })).latents);
  });
});

describe('tensors that are not those of the configuration', () => {
  const changes: readonly [string, string, (tensors: Map<string, unknown>) => void, string][] = [
    ['a missing one', vae, (tensors) => tensors.delete('decoder.conv_out.bias'), '1 missing: decoder.conv_out'],
    [
      'one more',
      vae,
      (tensors) => tensors.set('decoder.extra', { shape: [1], data: new Float32Array(1) }),
      '1 not part of this model: "decoder.extra"',
    ],
    [
      'a misshapen one',
      textEncoder,
      (tensors) => tensors.set('norm.weight', { shape: [63], data: new Float32Array(63) }),
      'norm.weight is [63], expected [64]',
    ],
    [
      'a table of embeddings that is too short',
      textEncoder,
      (tensors) => tensors.set('embed_tokens.weight', { shape: [5, 64], data: new Float32Array(320) }),
      'embed_tokens.weight is [5, 64]',
    ],
    [
      'one of integers',
      vae,
      (tensors) => tensors.set('decoder.conv_out.bias', { shape: [3], data: new Int32Array(3) }),
      'decoder.conv_out.bias is I32',
    ],
  ];
  for (const [what, file, change, part] of changes) {
    it(`are listed when the checkpoint is opened, before anything is loaded: ${what}`, async () => {
      using copy = new CheckpointCopy();
      await copy.changeTensors(file, change);
      const expected = sanaError('ERR_SANA_MODEL', part, 'config.json');
      for (const offload of ['none', 'sequential'] as const) {
        await assert.rejects(load(copy.path, { offload }), expected);
      }
      await assert.rejects(SanaPipeline.explain(copy.path), expected);
    });
  }

  it('are listed when the configuration is of another model', async () => {
    using copy = new CheckpointCopy();
    copy.changeJson('transformer/config.json', (json) => {
      json.num_layers = 4;
    });
    await assert.rejects(load(copy.path), sanaError('ERR_SANA_MODEL', 'missing: transformer_blocks.3.', 'and 9 more'));
  });
});

describe('a transformer that no release has', () => {
  it('is rejected by name', async () => {
    using copy = new CheckpointCopy();
    copy.changeJson('transformer/config.json', (json) => {
      json.patch_size = 2;
    });
    await assert.rejects(load(copy.path), sanaError('ERR_SANA_MODEL', 'patch_size 2'));
  });
});

describe('a request that cannot be carried out', () => {
  let pipe: SanaPipeline;
  let expected: string[];
  let device: ReturnType<typeof watchDevice>;
  before(async () => {
    device = watchDevice();
    pipe = await loadTiny();
    expected = pictures(await pipe.generate(small));
  });
  after(async () => {
    await pipe.dispose();
    device.close();
  });

  const latents = { data: new Float32Array(32 * 6).fill(Number.NaN), shape: [1, 32, 2, 3] };
  const rejected: readonly [string, object, RegExp, RegExp?][] = [
    ['a width that is no multiple of 32', { width: 1000 }, /`width` to be a multiple of 32.*got 1000/, /992 or 1024/],
    ['no prompts', { prompt: [] }, /`prompt`/],
    ['no prompt', { prompt: undefined }, /`prompt`/],
    ['a negative seed', { seed: -1 }, /`seed`/, /Leave `seed` out/],
    ['latents that are not numbers', { latents }, /latents\.data\[0\]/],
    ['latents of another size', { latents: { ...latents, shape: [1, 32, 3, 2] } }, /\[1, 32, 2, 3\]/],
    ['an unknown option', { numInferenceStep: 3 }, /unknown key/, /`numInferenceSteps`/],
    ['an option of other tools', { steps: 3 }, /unknown key/, /`numInferenceSteps`/],
    ['a scheduler that drives other models', { scheduler: 'scm' }, /`scheduler`/],
    ['a prompt of a megabyte', { prompt: 'x'.repeat(1_000_000) }, /`prompt`/],
    ['too many images', { numImagesPerPrompt: 65 }, /`numImagesPerPrompt`/],
  ];
  for (const [what, changes, message, hint] of rejected) {
    it(`rejects before any work: ${what}`, async () => {
      let steps = 0;
      const request = { ...small, onStep: () => steps++, ...changes } as unknown as GenerateRequest;
      for (const call of [pipe.generate(request), pipe.explain(request), pipe.profile(request)]) {
        await assert.rejects(call, (error: Error & { hint?: string }) => {
          sanaError('ERR_SANA_ARGUMENT', message)(error);
          assert.match(error.hint ?? '', hint ?? /./);
          return true;
        });
      }
      assert.equal(steps, 0);
    });
  }

  it('is not one with a prompt of 100 kB: it is cut to the model’s limit', async () => {
    const long = await pipe.generate({ ...small, prompt: 'a red fox '.repeat(10_000) });
    const shorter = await pipe.generate({ ...small, prompt: 'a red fox '.repeat(1000) });
    assert.deepEqual(pictures(long), pictures(shorter));
    assert.notDeepEqual(pictures(long), expected);
  });

  it('needs more memory than there is: reported before the first step, with figures', async function () {
    const request = { ...small, width: 8192, height: 8192, numImagesPerPrompt: 64 };
    const { memory } = await pipe.explain(request);
    const { bytes } = device;
    const free = listDevices().find(({ id }) => id === 'cpu')?.freeBytes ?? 0;
    const needed = memory.peakBytes + 64 * 8192 * 8192 * 3; // the device's part, and the pictures
    if (needed < 1.2 * free) {
      console.log(`      skipped: this machine has ${free} bytes free, enough for ${needed}`);
      this.skip();
    }
    const expectedError = sanaError(
      'ERR_SANA_MEMORY',
      '64 image(s) of 8192 x 8192',
      /needs [\d.]+ GB/,
      /[\d.]+ GB free/,
    );
    let steps = 0;
    await assert.rejects(pipe.generate({ ...request, onStep: () => void steps++ }), expectedError);
    assert.equal(steps, 0);
    assert.ok(device.bytes <= bytes);
    assert.deepEqual(pictures(await pipe.generate(small)), expected);
  });

  it('runs out of memory in the middle: a typed error, and the next call works', function () {
    this.timeout(60_000);
    if (process.platform !== 'linux' || spawnSync('prlimit', ['--version']).status !== 0) {
      console.log('      skipped: there is no prlimit here');
      this.skip();
    }
    const script = fileURLToPath(new URL('../support/tight-memory.ts', import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', script], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const { outcome, same, growth } = JSON.parse(stdout);
    assert.equal(outcome.code, 'ERR_SANA_MEMORY');
    assert.match(outcome.message, /\d+ bytes required/);
    assert.match(outcome.hint, /smaller size/);
    assert.equal(same, true);
    assert.equal(growth, 0);
  });
});

describe('latents that are saved', () => {
  const folder = temporaryFolder();
  const latents = { data: new Float32Array(32), shape: [1, 32, 1, 1] };

  it('get the folders that are missing', async () => {
    await writeLatents(join(folder.path, 'a/b/l.safetensors'), latents);
    assert.ok(existsSync(join(folder.path, 'a/b/l.safetensors')));
  });

  it('are not left half-written if they cannot be written', async () => {
    writeFileSync(join(folder.path, 'file'), '');
    mkdirSync(join(folder.path, 'folder.safetensors'));
    const paths = [join(folder.path, 'file/l.safetensors'), join(folder.path, 'folder.safetensors')];
    if (existsSync('/proc/self')) paths.push('/proc/sana/l.safetensors'); // takes no folders, even from root
    for (const path of paths) {
      await assert.rejects(writeLatents(path, latents), sanaError('ERR_SANA_FILE', path));
    }
    const { stdout } = await promisify(execFile)('find', [folder.path, '-name', '*.tmp']);
    assert.equal(stdout, '');
  });
});
