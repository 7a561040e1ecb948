import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { checkRevision, isRepositoryId, isSafeFileName, repositoryOfSnapshot } from '../../lib/hub/repository.ts';
import { hubSettings } from '../../lib/hub/settings.ts';
import { sanaError } from '../support/errors.ts';
import { temporaryFolder } from '../support/files.ts';

describe('the settings of the hub', () => {
  const folder = temporaryFolder();

  it('find the cache in the same place as Python', async () => {
    const home = join(homedir(), '.cache');
    const cases: readonly [Record<string, string>, string][] = [
      [{}, join(home, 'huggingface', 'hub')],
      [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
      [{ XDG_CACHE_HOME: '/x', HF_HOME: '/h' }, '/h/hub'],
      [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' }, '/old'],
      [{ HF_HUB_CACHE: '/c', HUGGINGFACE_HUB_CACHE: '/old', HF_HOME: '/h' }, '/c'],
      [{ HF_HOME: '~/h' }, join(homedir(), 'h', 'hub')],
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a shell's
      [{ HF_HUB_CACHE: '$ROOT/${SUB}/$NONE', ROOT: '/r', SUB: 's' }, '/r/s/$NONE'],
      [{ HF_HUB_CACHE: '' }, join(home, 'huggingface', 'hub')],
    ];
    for (const [env, expected] of cases) assert.equal((await hubSettings({}, env)).cacheDir, resolve(expected));
    assert.equal((await hubSettings({ cacheDir: 'here' }, { HF_HUB_CACHE: '/c' })).cacheDir, resolve('here'));
  });

  it('use the token from the option, the environment or the file', async () => {
    const home = join(folder.path, 'home');
    mkdirSync(home);
    writeFileSync(join(home, 'token'), 'of_file\n');
    const token = async (env: Record<string, string>, option?: string) =>
      (await hubSettings({ token: option }, { HF_HOME: home, ...env })).token;
    assert.equal(await token({}), 'of_file');
    assert.equal(await token({ HUGGING_FACE_HUB_TOKEN: 'old' }), 'old');
    assert.equal(await token({ HF_TOKEN: ' new\n', HUGGING_FACE_HUB_TOKEN: 'old' }), 'new');
    assert.equal(await token({ HF_TOKEN: 'new' }, 'given'), 'given');
    assert.equal(await token({ HF_HUB_DISABLE_IMPLICIT_TOKEN: '1', HF_TOKEN: 'new' }), undefined);
    assert.equal(await token({ HF_TOKEN_PATH: join(home, 'none') }), undefined);
    await assert.rejects(token({ HF_TOKEN: 'a\r\nhost: b' }), (error) => {
      sanaError('ERR_SANA_ARGUMENT', 'token')(error);
      return !String(error).includes('host');
    });
  });

  it('are offline if the environment says so', async () => {
    for (const value of ['1', 'ON', 'yes', 'True'])
      assert.ok((await hubSettings({}, { HF_HUB_OFFLINE: value })).offline);
    for (const value of ['0', '', 'off']) assert.ok(!(await hubSettings({}, { HF_HUB_OFFLINE: value })).offline);
    assert.ok((await hubSettings({}, { TRANSFORMERS_OFFLINE: '1' })).offline);
    assert.ok((await hubSettings({ localFilesOnly: true }, {})).offline);
  });

  it('accept the address of a hub, and nothing else', async () => {
    const endpoint = async (text: string) => (await hubSettings({}, { HF_ENDPOINT: text })).endpoint.href;
    assert.equal((await hubSettings({}, {})).endpoint.href, 'https://huggingface.co/');
    assert.equal(await endpoint('http://mirror.example.com/hf//'), 'http://mirror.example.com/hf');
    for (const text of [
      'mirror',
      'file:///x',
      'https://user:password@mirror',
      'https://mirror?x=1',
      'https://mirror#x',
    ]) {
      await assert.rejects(endpoint(text), sanaError('ERR_SANA_ARGUMENT', 'HF_ENDPOINT'), text);
    }
  });
});

describe('names of the hub', () => {
  it('distinguish a repository from a path', () => {
    for (const id of ['Efficient-Large-Model/Sana_600M_512px_diffusers', 'a/b', 'mit-han-lab/dc-ae-f32c32-sana-1.1']) {
      assert.ok(isRepositoryId(id), id);
    }
    const paths = [
      'model',
      './a/b',
      '../b',
      '/a/b',
      'a/b/c',
      'a/',
      '/b',
      'a/b.git',
      'a/..',
      'a--b/c',
      'a/b c',
      'C:/b',
      'a\\b',
      '~/b',
      'a/.b',
      'a/b-',
      '',
    ];
    for (const path of paths) assert.ok(!isRepositoryId(path), path);
  });

  it('find the repository of a snapshot', () => {
    const commit = 'a'.repeat(40);
    assert.equal(repositoryOfSnapshot(`/c/models--owner--some.name/snapshots/${commit}`), 'owner/some.name');
    for (const path of ['/c/model', `/c/models--owner/snapshots/${commit}`, '/c/models--a--b/snapshots/x', '']) {
      assert.equal(repositoryOfSnapshot(path), null);
    }
  });

  it('of revisions and files stay inside their folders', () => {
    for (const revision of ['main', 'v1.0', 'refs/pr/1', 'a-b_c', 'f'.repeat(40)])
      assert.equal(checkRevision(revision), revision);
    assert.throws(() => checkRevision('../main'), sanaError('ERR_SANA_ARGUMENT', '"../main"'));
    assert.ok(isSafeFileName('text_encoder/model.fp16-00001-of-00002.safetensors'));
    assert.ok(!isSafeFileName('a/../b') && !isSafeFileName('a//b') && !isSafeFileName('a\nb'));
  });
});
