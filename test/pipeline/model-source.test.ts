import assert from 'node:assert/strict';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SanaError } from '../../lib/base/errors.ts';
import type { LoadProgress } from '../../lib/index.ts';
import { locateModel, pullRepository } from '../../lib/pipeline/model-source.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { checkLoadOptions } from '../../lib/request/load-options.ts';
import { contents, fakeHub, noise } from '../hub/support.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { fixture } from '../support/files.ts';
import { pictures, small, tinyModel } from '../support/pipelines.ts';

const REPOSITORY = 'owner/sana-tiny_diffusers';
const WEIGHTS = 'diffusion_pytorch_model';

/** What is read of the fixture `sana-base`. */
const BASE = [
  'model_index.json',
  'scheduler/scheduler_config.json',
  'text_encoder/config.json',
  'text_encoder/model.safetensors',
  'tokenizer/special_tokens_map.json',
  'tokenizer/tokenizer.json',
  'tokenizer/tokenizer_config.json',
  'transformer/config.json',
  `transformer/${WEIGHTS}-00001-of-00003.safetensors`,
  `transformer/${WEIGHTS}-00002-of-00003.safetensors`,
  `transformer/${WEIGHTS}-00003-of-00003.safetensors`,
  `transformer/${WEIGHTS}.safetensors.index.json`,
  'vae/config.json',
  `vae/${WEIGHTS}.safetensors`,
];

describe('a model named by its repository', () => {
  const context = fakeHub();
  const { newCache } = context;
  let mixed = '';
  before(() => {
    // Both variants and what else lies in repositories.
    mixed = join(context.folder, 'mixed');
    cpSync(fixture('sana-base-bf16'), mixed, { recursive: true });
    cpSync(tinyModel, mixed, { recursive: true });
    for (const name of ['README.md', 'original.pth', 'asset/logo.png', 'transformer/other.bin']) {
      mkdirSync(join(mixed, name, '..'), { recursive: true });
      writeFileSync(join(mixed, name), noise(5000));
    }
    writeFileSync(join(mixed, 'generation_config.json'), '{"num_inference_steps": 3}');
  });

  const pull = (options: Parameters<typeof checkLoadOptions>[0] = {}) =>
    pullRepository(REPOSITORY, checkLoadOptions({ cacheDir: newCache(), ...options }));
  const rejects = async (wanted: Promise<unknown>, ...expected: Parameters<typeof sanaError>) => {
    const error: unknown = await wanted.then(
      () => assert.fail('expected an error'),
      (reason) => reason,
    );
    sanaError(...expected)(error);
    return error as SanaError;
  };

  it('is downloaded, loaded and drawn with, then loaded offline; its pictures name it', async () => {
    const { commit } = context.hub.addFolder(REPOSITORY, tinyModel);
    const events: LoadProgress[] = [];
    const options = { device: testDevice, dtype: 'float32', cacheDir: newCache() } as const;
    const onProgress = (event: LoadProgress) => void events.push(event);
    const pipe = await SanaPipeline.fromPretrained(REPOSITORY, { ...options, onProgress });
    const drawn = await pipe.generate(small);
    await pipe.dispose();
    assert.equal(drawn.images[0]?.parameters.model, REPOSITORY);
    const phases = events.map(({ phase }) => phase).filter((phase, i, all) => phase !== all[i - 1]);
    assert.deepEqual(phases, ['download', 'open', 'load', 'ready']);
    const last = events.filter(({ phase }) => phase === 'download').at(-1);
    assert.ok(last !== undefined && last.totalBytes > 4_000_000 && last.loadedBytes === last.totalBytes);
    assert.deepEqual(context.hub.downloads().sort(), BASE);

    const local = await SanaPipeline.fromPretrained(tinyModel, { device: testDevice, dtype: 'float32' });
    assert.deepEqual(pictures(drawn), pictures(await local.generate(small)));
    await local.dispose();
    await using offline = await SanaPipeline.fromPretrained(REPOSITORY, { ...options, localFilesOnly: true });
    assert.deepEqual(pictures(await offline.generate(small)), pictures(drawn));
    assert.equal((await offline.explain(small)).model, REPOSITORY);
    await using pinned = await SanaPipeline.fromPretrained(REPOSITORY, { ...options, revision: commit });
    assert.ok(pinned);
    assert.equal(context.hub.requests.length, 0);
  });

  it('comes with the files of its variant, or those that there are', async () => {
    context.hub.addFolder(REPOSITORY, mixed);
    const plain = [...BASE, 'generation_config.json'].sort();
    assert.deepEqual(Object.keys(contents((await pull()).folder)), plain);
    const wanted = Object.keys(contents((await pull({ variant: 'bf16' })).folder));
    assert.deepEqual(
      wanted.filter((name) => /safetensors/.test(name)),
      [
        'text_encoder/model.bf16.safetensors',
        `transformer/${WEIGHTS}.bf16-00001-of-00002.safetensors`,
        `transformer/${WEIGHTS}.bf16-00002-of-00002.safetensors`,
        `transformer/${WEIGHTS}.safetensors.index.bf16.json`,
        `vae/${WEIGHTS}.bf16.safetensors`,
      ],
    );
    assert.deepEqual(Object.keys(contents((await pull({ variant: 'fp16' })).folder)), plain);
    context.hub.addFolder(REPOSITORY, fixture('sana-base-bf16'));
    const only = Object.keys(contents((await pull()).folder));
    assert.deepEqual(
      only.filter((name) => name.startsWith('vae')),
      ['vae/config.json', `vae/${WEIGHTS}.bf16.safetensors`],
    );
  });

  it('includes a ControlNet if there is one', async () => {
    const folder = join(context.folder, 'controlled');
    cpSync(tinyModel, folder, { recursive: true });
    cpSync(fixture('sana-controlnet'), folder, { recursive: true });
    context.hub.addFolder(REPOSITORY, folder);
    const names = Object.keys(contents((await pull()).folder));
    assert.deepEqual(
      names.filter((name) => name.startsWith('controlnet/')),
      ['controlnet/config.json', `controlnet/${WEIGHTS}.safetensors`],
    );
  });

  it('gives a ControlNet to a model, of a pipeline or alone, and nothing else of its repository', async () => {
    const folder = join(context.folder, 'control');
    cpSync(fixture('sana-controlnet'), folder, { recursive: true });
    const wanted = (path: string) => [join(path, 'config.json'), join(path, `${WEIGHTS}.safetensors`)];
    const image = { width: 32, height: 32, data: new Uint8Array(32 * 32 * 3).fill(90) };
    const drawn: string[][] = [];
    for (const [at, path] of [
      [folder, 'controlnet'],
      [join(folder, 'controlnet'), '.'],
    ] as const) {
      context.hub.addFolder('owner/control', at);
      const options = { device: testDevice, dtype: 'float32', cacheDir: newCache() } as const;
      const controlled = { ...options, controlnet: 'owner/control' };
      await using pipe = await SanaPipeline.fromPretrained(tinyModel, controlled);
      assert.deepEqual(context.hub.downloads().sort(), wanted(path));
      drawn.push(pictures(await pipe.generate({ ...small, controlImage: image })));
      context.hub.requests.length = 0;
      await (await SanaPipeline.fromPretrained(tinyModel, { ...controlled, localFilesOnly: true })).dispose();
      assert.equal(context.hub.requests.length, 0);
    }
    await using local = await SanaPipeline.fromPretrained(tinyModel, {
      device: testDevice,
      dtype: 'float32',
      controlnet: folder,
    });
    drawn.push(pictures(await local.generate({ ...small, controlImage: image })));
    assert.deepEqual(drawn[0], drawn[2]);
    assert.deepEqual(drawn[1], drawn[2]);
    assert.deepEqual(
      Object.keys(contents((await pullRepository('owner/control', checkLoadOptions({ cacheDir: newCache() }))).folder)),
      wanted('.'),
    );
    context.hub.add('owner/control', { 'README.md': '-' });
    const none = SanaPipeline.fromPretrained(tinyModel, { controlnet: 'owner/control', cacheDir: newCache() });
    await rejects(none, 'ERR_SANA_MODEL', 'owner/control', 'not a ControlNet');
  });

  it('is rejected before anything large is downloaded if it is not a SANA pipeline', async () => {
    const large = { 'transformer/weights.safetensors': noise(5000), 'x/config.json': '{}' };
    context.hub.add(REPOSITORY, { ...large, 'model_index.json': '{"_class_name": "FluxPipeline"}' });
    await rejects(pull(), 'ERR_SANA_MODEL', REPOSITORY, '"FluxPipeline"', 'SanaSprintPipeline');
    context.hub.add(REPOSITORY, { 'checkpoints/Sana_600M.pth': noise(5000) });
    const error = await rejects(pull(), 'ERR_SANA_MODEL', REPOSITORY, 'no model_index.json', '.pth');
    assert.match(error.hint, /_diffusers/);
    context.hub.add(REPOSITORY, { 'config.json': '{}' });
    await rejects(pull(), 'ERR_SANA_MODEL', 'one component');
    context.hub.add(REPOSITORY, { 'README.md': '-' });
    await rejects(pull(), 'ERR_SANA_MODEL', 'not a pipeline');
    const { files } = context.hub.addFolder(REPOSITORY, tinyModel);
    files.delete('vae/diffusion_pytorch_model.safetensors');
    await rejects(pull(), 'ERR_SANA_MODEL', join(REPOSITORY, 'vae'), 'holds no weights');
    context.hub.addFolder(REPOSITORY, tinyModel).files.delete('tokenizer/tokenizer.json');
    await rejects(pull(), 'ERR_SANA_MODEL', 'tokenizer.json: is not there');
    assert.ok(context.hub.downloads().every((name) => name.endsWith('.json')));
  });

  it('is rejected if an index names a file that is missing, or outside the folder', async () => {
    const { files } = context.hub.addFolder(REPOSITORY, tinyModel);
    files.delete(`transformer/${WEIGHTS}-00002-of-00003.safetensors`);
    await rejects(pull(), 'ERR_SANA_MODEL', '00002-of-00003.safetensors: is not there');
    const evil = join(context.folder, 'evil');
    cpSync(tinyModel, evil, { recursive: true });
    writeFileSync(
      join(evil, 'transformer', `${WEIGHTS}.safetensors.index.json`),
      '{"weight_map": {"w": "../../../../x.safetensors"}}',
    );
    context.hub.addFolder(REPOSITORY, evil);
    await rejects(pull(), 'ERR_SANA_MODEL', 'weight_map');
  });

  it('is partly or completely missing offline, and the error says what to do', async () => {
    context.hub.addFolder(REPOSITORY, mixed);
    const cacheDir = newCache();
    await pull({ cacheDir, variant: 'bf16' });
    context.hub.requests.length = 0;
    await pull({ cacheDir, variant: 'bf16', localFilesOnly: true });
    const other = await rejects(pull({ localFilesOnly: true }), 'ERR_SANA_DOWNLOAD', 'not in the cache');
    assert.match(other.hint, /sana-native pull owner\/sana-tiny_diffusers/);
    assert.equal(context.hub.requests.length, 0);
  });

  it('of a pinned commit gets the requested variant although another one is cached', async () => {
    const { commit: revision } = context.hub.addFolder(REPOSITORY, mixed);
    const cacheDir = newCache();
    const weights = (name: string) => name.endsWith('.safetensors');
    await pull({ cacheDir, revision });
    context.hub.downloads();
    await pull({ cacheDir, revision, variant: 'bf16' });
    assert.deepEqual(context.hub.downloads().filter(weights).length, 4);
    for (const variant of [undefined, 'bf16']) await pull({ cacheDir, revision, ...(variant && { variant }) });
    assert.equal(context.hub.requests.length, 0);
    // The hub is asked about a variant that the repository does not have, because it may have it now: no download.
    await pull({ cacheDir, revision, variant: 'fp16' });
    assert.deepEqual([context.hub.requests.length, context.hub.downloads()], [1, []]);
    const alone = newCache();
    await pull({ cacheDir: alone, revision, variant: 'bf16' });
    context.hub.downloads();
    await pull({ cacheDir: alone, revision });
    assert.deepEqual(context.hub.downloads().filter(weights).length, 5);
  });

  it('of a name that is nearly a released one is asked about', async () => {
    const near = 'Efficient-Large-Model/Sana_600M_512px_difusers';
    const error = await rejects(
      locateModel(near, checkLoadOptions({ cacheDir: newCache() })),
      'ERR_SANA_DOWNLOAD',
      near,
    );
    assert.match(error.hint, /Did you mean Efficient-Large-Model\/Sana_600M_512px_diffusers\?/);
  });

  it('is a folder if there is one of that name, or if the name is a path', async () => {
    const here = process.cwd();
    mkdirSync(join(context.folder, 'work', 'owner'), { recursive: true });
    process.chdir(join(context.folder, 'work'));
    try {
      symlinkSync(tinyModel, 'owner/folder');
      const options = checkLoadOptions({ cacheDir: newCache() });
      for (const path of ['owner/folder', './owner/none', '/a/b', 'sana-tiny/x/y', 'model']) {
        assert.equal(await locateModel(path, options), path);
      }
      const revised = locateModel('owner/folder', { ...options, revision: 'main' });
      await rejects(revised, 'ERR_SANA_ARGUMENT', '`revision`', 'owner/folder is a folder');
      assert.match(await locateModel('sana-tiny', options), /models.sana-tiny$/);
      assert.equal(context.hub.requests.length, 0);
    } finally {
      process.chdir(here);
    }
    await rejects(pullRepository('./x', checkLoadOptions({})), 'ERR_SANA_ARGUMENT', '`repository`', './x');
  });
});
