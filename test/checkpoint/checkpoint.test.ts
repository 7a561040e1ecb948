import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseJsonObject } from '../../lib/base/json.ts';
import { checkTensors, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { readTensor } from '../../lib/checkpoint/tensor-file.ts';
import { parseWeightIndex } from '../../lib/checkpoint/weight-files.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, openFile, temporaryFolder } from '../support/files.ts';

const open = (folder: string, variant?: string) =>
  openCheckpoint(folder, { openFile, ...(variant === undefined ? {} : { variant }) });
const WEIGHTS = 'diffusion_pytorch_model';

describe('checkpoint', () => {
  const temporary = temporaryFolder();
  /** A copy of a fixture that may be damaged. */
  const copy = (...names: string[]): string => {
    const folder = mkdtempSync(join(temporary.path, 'copy-'));
    for (const name of names.length > 0 ? names : ['sana-base']) cpSync(fixture(name), folder, { recursive: true });
    return folder;
  };

  it('opens a whole pipeline, its transformer in three files', async () => {
    const checkpoint = await open(fixture('sana-base'));
    assert.equal(checkpoint.className, 'SanaPipeline');
    assert.equal(checkpoint.scheduler.className, 'DPMSolverMultistepScheduler');
    assert.equal(checkpoint.controlnet, undefined);
    const { transformer, textEncoder, vae } = checkpoint;
    assert.deepEqual(
      [transformer, textEncoder, vae].map(({ dtype, variant, files }) => [dtype, variant, files.length]),
      [
        ['f32', null, 3],
        ['f32', null, 1],
        ['f32', null, 1],
      ],
    );
    assert.deepEqual(transformer.tensors.get('patch_embed.proj.weight')?.shape, [64, 32, 1, 1]);
    assert.deepEqual(textEncoder.tensors.get('embed_tokens.weight')?.shape, [1233, 64]);
    checkpoint.close();
    checkpoint.close();
  });

  it('opens files by tensor, and not after closing', async () => {
    const checkpoint = await open(fixture('sana-base'));
    for (const entry of checkpoint.transformer.tensors.values()) {
      const file = checkpoint.transformer.file(entry);
      assert.equal(file.path, entry.path);
      assert.ok(entry.offset + entry.bytes <= file.bytes);
    }
    const [entry] = checkpoint.vae.tensors.values();
    assert.ok(entry !== undefined);
    checkpoint.close();
    assert.throws(() => checkpoint.vae.file(entry), sanaError('ERR_SANA_DISPOSED', 'closed'));
  });

  it('the bf16 variant has the same tensors; it is used if requested, and if there is no other', async () => {
    const base = await open(fixture('sana-base'));
    for (const variant of ['bf16', undefined]) {
      const checkpoint = await open(fixture('sana-base-bf16'), variant);
      for (const name of ['transformer', 'textEncoder', 'vae'] as const) {
        assert.equal(checkpoint[name].variant, 'bf16');
        assert.equal(checkpoint[name].dtype, 'bf16');
        assert.deepEqual(shapes(checkpoint[name].tensors), shapes(base[name].tensors));
      }
      assert.deepEqual(
        checkpoint.transformer.files.map(({ name }) => name),
        [`${WEIGHTS}.bf16-00001-of-00002.safetensors`, `${WEIGHTS}.bf16-00002-of-00002.safetensors`],
      );
      checkpoint.close();
    }
    base.close();
  });

  it('a requested variant comes first, then the unsuffixed files if it does not exist', async () => {
    const folder = copy();
    cpSync(
      fixture('sana-base-bf16', 'vae', `${WEIGHTS}.bf16.safetensors`),
      join(folder, 'vae', `${WEIGHTS}.bf16.safetensors`),
    );
    const plain = await open(folder);
    assert.equal(plain.vae.dtype, 'f32');
    const asked = await open(folder, 'bf16');
    assert.deepEqual([asked.vae.variant, asked.vae.dtype, asked.transformer.variant], ['bf16', 'bf16', null]);
    plain.close();
    asked.close();
  });

  it('takes shards whose variant comes last, as older folders name them', async () => {
    const folder = copy('sana-base-bf16');
    const indexPath = join(folder, 'transformer', `${WEIGHTS}.safetensors.index.bf16.json`);
    for (const i of [1, 2]) {
      renameSync(
        join(folder, 'transformer', `${WEIGHTS}.bf16-0000${i}-of-00002.safetensors`),
        join(folder, 'transformer', `${WEIGHTS}-0000${i}-of-00002.bf16.safetensors`),
      );
    }
    const index = readFileSync(indexPath, 'utf8').replaceAll(/\.bf16-(0000\d-of-00002)/g, '-$1.bf16');
    writeFileSync(indexPath, index);
    const checkpoint = await open(folder);
    assert.equal(checkpoint.transformer.files[1]?.name, `${WEIGHTS}-00002-of-00002.bf16.safetensors`);
    checkpoint.close();
  });

  it('opens a ControlNet pipeline and a Sprint pipeline', async () => {
    const controlled = await open(copy('sana-base', 'sana-controlnet'));
    assert.equal(controlled.className, 'SanaControlNetPipeline');
    assert.equal(controlled.controlnet?.config.numLayers, 2);
    controlled.close();
    const folder = copy();
    rmSync(join(folder, 'transformer'), { recursive: true });
    cpSync(fixture('sana-sprint'), folder, { recursive: true });
    const sprint = await open(folder);
    assert.equal(sprint.className, 'SanaSprintPipeline');
    assert.equal(sprint.scheduler.className, 'SCMScheduler');
    sprint.close();
  });

  it('takes the names of a whole language model, without its head', async () => {
    const folder = copy();
    const path = join(folder, 'text_encoder', 'model.safetensors');
    const special: Record<string, string> = { 'norm.weight': 'lm_head.weight', __metadata__: '__metadata__' };
    rewriteHeader(path, (header) => {
      const renamed = Object.entries(header).map(([name, entry]) => [special[name] ?? `model.${name}`, entry]);
      return Object.fromEntries(renamed);
    });
    const checkpoint = await open(folder);
    const { tensors } = checkpoint.textEncoder;
    assert.ok(
      tensors.has('layers.0.self_attn.q_proj.weight') && !tensors.has('lm_head.weight') && !tensors.has('norm.weight'),
    );
    assert.equal(tensors.get('embed_tokens.weight')?.name, 'embed_tokens.weight');
    checkpoint.close();
  });

  it('the tensors lie where the entries say', async () => {
    const checkpoint = await open(fixture('sana-base'));
    const entry = checkpoint.vae.tensors.get('decoder.conv_in.bias') ?? assert.fail();
    const bytes = await checkpoint.vae.file(entry).read(entry.offset, entry.bytes);
    const expected = await readTensor(fixture('sana-base', 'vae', `${WEIGHTS}.safetensors`), entry.name, openFile);
    assert.deepEqual(new Float32Array(bytes), expected.data);
    checkpoint.close();
  });

  describe('checkTensors', () => {
    it('passes when every tensor is as expected, ignored ones aside', async () => {
      const { vae, close } = await open(fixture('sana-base'));
      const expected = shapes(vae.tensors);
      checkTensors(vae, expected);
      for (const name of [...expected.keys()]) if (name.startsWith('encoder.')) expected.delete(name);
      checkTensors(vae, expected, { ignore: /^encoder\./ });
      assert.throws(
        () => checkTensors(vae, expected),
        sanaError('ERR_SANA_MODEL', 'not part of this model', 'encoder.'),
      );
      close();
    });

    it('lists what is missing, extra, misshapen and mistyped in one error, the first ten of each', async () => {
      const { vae, close } = await open(fixture('sana-base'));
      const entry = vae.tensors.get('decoder.conv_in.bias') ?? assert.fail();
      const tensors = new Map([
        ['right', { ...entry, name: 'right', shape: [2, 3] }],
        ['misshapen', { ...entry, name: 'misshapen', shape: [3, 2] }],
        ['mistyped', { ...entry, name: 'mistyped', shape: [4], dtype: 'other', storedDType: 'I64' } as const],
        ['extra\nname', { ...entry, name: 'extra\nname' }],
      ]);
      const expected = new Map<string, number[]>([
        ['right', [2, 3]],
        ['misshapen', [2, 3]],
        ['mistyped', [4]],
        ...Array.from({ length: 13 }, (_, i): [string, number[]] => [`absent.${i}`, [1]]),
      ]);
      assert.throws(
        () => checkTensors({ ...vae, tensors }, expected),
        sanaError(
          'ERR_SANA_MODEL',
          join('vae', 'config.json'),
          '13 missing: absent.0, absent.1',
          'absent.9, and 3 more',
          '1 not part of this model: "extra\\nname"',
          'misshapen is [3, 2], expected [2, 3]',
          'mistyped is I64, expected F32, BF16 or F16',
        ),
      );
      close();
    });
  });

  describe('a folder that is no checkpoint', () => {
    it('is distinguished from a hub id, a file, original weights, a component, a cache and an empty folder', async () => {
      const empty = mkdtempSync(join(temporary.path, 'empty-'));
      const original = mkdtempSync(join(temporary.path, 'original-'));
      writeFileSync(join(original, 'Sana_600M.pth'), '');
      const cache = join(temporary.path, 'models--org--name');
      mkdirSync(join(cache, 'snapshots', 'abc'), { recursive: true });
      const cases: readonly [string, ...string[]][] = [
        ['Efficient-Large-Model/Sana_600M_1024px_diffusers', 'Hugging Face repository id'],
        [join(temporary.path, 'nowhere'), 'no such folder'],
        [fixture('sana-base', 'vae', `${WEIGHTS}.safetensors`), 'single safetensors file'],
        [join(original, 'Sana_600M.pth'), 'pickled'],
        [original, '.pth'],
        [fixture('sana-base', 'vae'), 'one component'],
        [cache, 'hub cache'],
        [empty, 'is empty'],
      ];
      for (const [path, ...parts] of cases) {
        await assert.rejects(open(path), sanaError('ERR_SANA_MODEL', path, 'model_index.json', ...parts));
      }
    });

    it('is named if it is another pipeline', async () => {
      const folder = copy();
      writeFileSync(join(folder, 'model_index.json'), '{"_class_name": "FluxPipeline"}');
      await assert.rejects(
        open(folder),
        sanaError('ERR_SANA_MODEL', '"FluxPipeline"', 'SanaPipeline', 'SanaSprintPipeline'),
      );
    });

    it('names the scheduler that is not supported', async () => {
      const folder = copy();
      const index = JSON.parse(readFileSync(join(folder, 'model_index.json'), 'utf8'));
      writeFileSync(
        join(folder, 'model_index.json'),
        JSON.stringify({ ...index, scheduler: ['diffusers', 'DDIMScheduler'] }),
      );
      await assert.rejects(
        open(folder),
        sanaError('ERR_SANA_MODEL', 'DDIMScheduler', 'FlowMatchEulerDiscreteScheduler'),
      );
    });
  });

  describe('a damaged folder', () => {
    it('lists the names that were tried, and the variants there are', async () => {
      const folder = copy();
      rmSync(join(folder, 'vae', `${WEIGHTS}.safetensors`));
      const tried = [
        `${WEIGHTS}.fp16.safetensors`,
        `${WEIGHTS}.safetensors.index.fp16.json`,
        `${WEIGHTS}.safetensors`,
        `${WEIGHTS}.safetensors.index.json`,
      ];
      await assert.rejects(open(folder, 'fp16'), sanaError('ERR_SANA_MODEL', 'vae', tried.join(', ')));
      for (const variant of ['bf16', 'fp16'])
        writeFileSync(join(folder, 'vae', `${WEIGHTS}.${variant}.safetensors`), '');
      await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', 'There are variants: bf16, fp16'));
      await assert.rejects(open(folder, '../fp16'), sanaError('ERR_SANA_ARGUMENT', 'variant'));
    });

    it('names the file that is missing', async () => {
      for (const name of [
        'vae/config.json',
        'scheduler/scheduler_config.json',
        `transformer/${WEIGHTS}-00002-of-00003.safetensors`,
      ]) {
        const folder = copy();
        rmSync(join(folder, name));
        await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', name, 'not there'));
      }
    });

    it('rejects an index that contradicts its files', async () => {
      const folder = copy();
      const path = join(folder, 'transformer', `${WEIGHTS}.safetensors.index.json`);
      const index = JSON.parse(readFileSync(path, 'utf8'));
      const [name] = Object.keys(index.weight_map);
      const { [name ?? '']: _, ...without } = index.weight_map;
      writeFileSync(path, JSON.stringify({ weight_map: without }));
      await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', 'does not place there', `"${name}"`));
      writeFileSync(
        path,
        JSON.stringify({ weight_map: { ...index.weight_map, nowhere: `${WEIGHTS}-00001-of-00003.safetensors` } }),
      );
      await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', '"nowhere"', 'does not hold it'));
    });

    it('rejects shard names that lead outside the folder, or could', () => {
      const names = [
        '../x.safetensors',
        '/etc/x.safetensors',
        'a/b.safetensors',
        '..\\x.safetensors',
        'C:\\x.safetensors',
        'C:x.safetensors',
        '\\\\host\\x.safetensors',
        'x.safetensors\0',
        'x\0.safetensors',
        '%2e%2e%2fx.safetensors',
        '.x.safetensors',
        '..safetensors',
        'x.safetensors.',
        'x.safetensors ',
        'x.bin',
        '',
        `${'x'.repeat(300)}.safetensors`,
        'x.safetensors:stream',
        3,
        null,
        ['x.safetensors'],
      ];
      for (const name of names) {
        const json = parseJsonObject(JSON.stringify({ weight_map: { w: name } }), 'index.json');
        assert.throws(
          () => parseWeightIndex(json, 'index.json'),
          sanaError('ERR_SANA_MODEL', 'index.json', 'weight_map'),
          String(name),
        );
      }
      for (const map of [undefined, [], {}, 'x']) {
        const json = parseJsonObject(JSON.stringify({ weight_map: map }), 'index.json');
        assert.throws(
          () => parseWeightIndex(json, 'index.json'),
          sanaError('ERR_SANA_MODEL', 'index.json', 'weight_map'),
        );
      }
    });

    it('rejects truncated weights and configurations', async () => {
      for (const name of [
        'vae/config.json',
        `vae/${WEIGHTS}.safetensors`,
        'model_index.json',
        'text_encoder/model.safetensors',
      ]) {
        const folder = copy();
        const whole = readFileSync(join(folder, name));
        for (const bytes of [0, 1, 9, Math.floor(whole.byteLength / 2), whole.byteLength - 2]) {
          writeFileSync(join(folder, name), whole.subarray(0, bytes));
          await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', name));
        }
      }
    });

    it('rejects folders, pipes and huge files in place of a configuration', async () => {
      const folder = copy();
      const path = join(folder, 'vae', 'config.json');
      rmSync(path);
      mkdirSync(path);
      await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', 'not a regular file'));
      rmSync(path, { recursive: true });
      if (process.platform !== 'win32') {
        execFileSync('mkfifo', [path]);
        await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', 'not a regular file'));
        rmSync(path);
      }
      writeFileSync(path, Buffer.alloc(17 * 1024 * 1024, 0x20));
      await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', 'more than'));
    });
  });

  (process.platform === 'win32' ? describe.skip : describe)('links', () => {
    const VAE = join('vae', `${WEIGHTS}.safetensors`);

    it('inside the folder are followed', async () => {
      const folder = copy();
      renameSync(join(folder, VAE), join(folder, 'weights'));
      symlinkSync('../weights', join(folder, VAE));
      (await open(folder)).close();
    });

    it('to the blobs of the same hub repository are followed, from a snapshot only', async () => {
      const repository = join(mkdtempSync(join(temporary.path, 'hub-')), 'models--org--sana');
      const snapshot = join(repository, 'snapshots', 'abc');
      cpSync(fixture('sana-base'), snapshot, { recursive: true });
      mkdirSync(join(repository, 'blobs'));
      for (const [name, blob] of [
        [VAE, '0123'],
        [join('vae', 'config.json'), '4567'],
      ] as const) {
        renameSync(join(snapshot, name), join(repository, 'blobs', blob));
        symlinkSync(join('..', '..', '..', 'blobs', blob), join(snapshot, name));
      }
      (await open(snapshot)).close();
      // The same links in a folder of any other name lead out of it.
      const other = join(repository, '..', 'other');
      renameSync(repository, other);
      await assert.rejects(
        open(join(other, 'snapshots', 'abc')),
        sanaError('ERR_SANA_MODEL', 'leads out of the folder'),
      );
    });

    it('to outside the folder, to nowhere and in circles are rejected', async () => {
      for (const [name, target, code] of [
        [VAE, fixture('sana-base', VAE), 'ERR_SANA_MODEL'],
        [join('vae', 'config.json'), fixture('sana-base', 'vae', 'config.json'), 'ERR_SANA_MODEL'],
        ['model_index.json', '/etc/hostname', 'ERR_SANA_MODEL'],
        [join('scheduler', 'scheduler_config.json'), '/dev/zero', 'ERR_SANA_MODEL'],
        [join('vae', 'config.json'), 'nothing', 'ERR_SANA_MODEL'],
        [join('vae', 'config.json'), 'config.json', 'ERR_SANA_FILE'],
      ] as const) {
        const folder = copy();
        rmSync(join(folder, name));
        symlinkSync(target, join(folder, name));
        await assert.rejects(open(folder), sanaError(code, name));
      }
      const folder = copy();
      rmSync(join(folder, 'vae'), { recursive: true });
      symlinkSync(fixture('sana-base', 'vae'), join(folder, 'vae'));
      await assert.rejects(open(folder), sanaError('ERR_SANA_MODEL', 'leads out of the folder'));
    });
  });
});

function shapes(tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>): Map<string, readonly number[]> {
  return new Map([...tensors].map(([name, { shape }]) => [name, shape]));
}

/** Rewrites a file's header in place of the old one. */
function rewriteHeader(path: string, change: (header: Record<string, unknown>) => Record<string, unknown>): void {
  const whole = readFileSync(path);
  const headerBytes = Number(whole.readBigUInt64LE());
  const header = Buffer.from(JSON.stringify(change(JSON.parse(whole.subarray(8, 8 + headerBytes).toString()))));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.byteLength));
  writeFileSync(path, Buffer.concat([length, header, whole.subarray(8 + headerBytes)]));
}
