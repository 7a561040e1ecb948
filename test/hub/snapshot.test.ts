import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { TransferProgress } from '../../lib/hub/transfer.ts';
import { sanaError } from '../support/errors.ts';
import { contents, fakeHub, noise, REPOSITORY } from './support.ts';

const FILES = {
  'model_index.json': '{"a": 1}',
  'vae/config.json': '{"b": 2}',
  'vae/weights.safetensors': noise(300_000),
  'transformer/weights.safetensors': noise(200_000, 2),
  'empty.txt': '',
};

describe('a snapshot of a repository', () => {
  const context = fakeHub();
  const { pull, newCache } = context;
  const repository = (cache: string, ...parts: string[]) => join(cache, 'models--owner--model', ...parts);

  it('is laid out as Python lays it out, with relative links, and the ref at the end', async () => {
    const { commit, files } = context.hub.add(REPOSITORY, FILES);
    const cache = newCache();
    const snapshot = await pull(cache);
    assert.equal(snapshot.folder, repository(cache, 'snapshots', commit));
    assert.equal(snapshot.receivedBytes, 500_000 + 16);
    assert.deepEqual(Object.keys(contents(snapshot.folder)), Object.keys(FILES).sort());
    for (const [name, { data, hash }] of files) {
      const pointer = join(snapshot.folder, name);
      assert.deepEqual(readFileSync(pointer), data);
      assert.equal(readlinkSync(pointer), `${'../'.repeat(name.split('/').length + 1)}blobs/${hash}`);
    }
    assert.deepEqual(readdirSync(repository(cache)).sort(), ['blobs', 'refs', 'snapshots']);
    assert.deepEqual(
      readdirSync(repository(cache, 'blobs')).sort(),
      [...files.values()].map(({ hash }) => hash).sort(),
    );
    assert.equal(readFileSync(repository(cache, 'refs', 'main'), 'utf8'), commit);
    assert.deepEqual(readdirSync(join(cache, '.locks', 'models--owner--model')), []); // no lock is left
    assert.match(readFileSync(join(cache, 'CACHEDIR.TAG'), 'utf8'), /^Signature: 8a477f597d28d172789f06886806bc55\n/);
  });

  it('is given again without downloading, of a commit without asking', async () => {
    const { commit } = context.hub.add(REPOSITORY, FILES);
    const cache = newCache();
    await pull(cache);
    assert.equal(context.hub.downloads().length, 4); // of an empty file there is nothing to ask for
    const again = await pull(cache);
    assert.deepEqual([again.receivedBytes, context.hub.requests.length], [0, 1]);
    context.hub.requests.length = 0;
    assert.equal((await pull(cache, { revision: commit })).folder, again.folder);
    assert.equal(context.hub.requests.length, 0);
  });

  it('of a new commit reuses unchanged files of the old one', async () => {
    const cache = newCache();
    context.hub.add(REPOSITORY, FILES);
    const old = await pull(cache);
    context.hub.downloads();
    const { commit } = context.hub.add(REPOSITORY, { ...FILES, 'vae/config.json': '{"b": 3}' });
    const now = await pull(cache);
    assert.deepEqual(context.hub.downloads(), ['vae/config.json']);
    assert.equal(now.commit, commit);
    assert.equal(readFileSync(join(old.folder, 'vae/config.json'), 'utf8'), '{"b": 2}');
    assert.equal(readFileSync(join(now.folder, 'vae/config.json'), 'utf8'), '{"b": 3}');
    assert.equal(readFileSync(repository(cache, 'refs', 'main'), 'utf8'), commit);
  });

  it('keeps a tag as well as the branch', async () => {
    const { commit } = context.hub.add(REPOSITORY, FILES);
    const cache = newCache();
    await pull(cache, { revision: 'v1.0' });
    assert.deepEqual(readdirSync(repository(cache, 'refs')), ['v1.0']);
    assert.equal(readFileSync(repository(cache, 'refs', 'v1.0'), 'utf8'), commit);
  });

  it('fetches again what has another length than it should', async () => {
    const { files } = context.hub.add(REPOSITORY, FILES);
    const cache = newCache();
    const { folder } = await pull(cache);
    context.hub.downloads();
    truncateSync(repository(cache, 'blobs', files.get('vae/weights.safetensors')?.hash ?? ''), 1000);
    rmSync(join(folder, 'transformer/weights.safetensors'));
    const again = await pull(cache);
    assert.deepEqual(context.hub.downloads(), ['vae/weights.safetensors']);
    assert.deepEqual(contents(again.folder)['vae/weights.safetensors'], FILES['vae/weights.safetensors']);
    assert.deepEqual(
      contents(again.folder)['transformer/weights.safetensors'],
      FILES['transformer/weights.safetensors'],
    );
  });

  it('without symbolic links has the files themselves', async () => {
    context.hub.add(REPOSITORY, FILES);
    const cache = newCache();
    process.env.HF_HUB_DISABLE_SYMLINKS = '1';
    const { folder } = await pull(cache);
    assert.ok(lstatSync(join(folder, 'vae/weights.safetensors')).isFile());
    assert.deepEqual(contents(folder)['vae/weights.safetensors'], FILES['vae/weights.safetensors']);
    assert.deepEqual(readdirSync(repository(cache, 'blobs')), []); // nothing lies there twice
    context.hub.downloads();
    await pull(cache);
    assert.deepEqual(context.hub.downloads(), []);
  });

  it('has only the chosen files, and an index to choose by', async () => {
    context.hub.add(REPOSITORY, { ...FILES, 'original.pth': noise(5000) });
    const { folder } = await pull(newCache(), {
      choose: async (remote) => {
        assert.ok(remote.names.has('original.pth'));
        await remote.fetch('model_index.json');
        assert.equal(readFileSync(join(remote.folder, 'model_index.json'), 'utf8'), '{"a": 1}');
        return ['model_index.json', 'vae/config.json'];
      },
    });
    assert.deepEqual(Object.keys(contents(folder)), ['model_index.json', 'vae/config.json']);
    await assert.rejects(
      pull(newCache(), { choose: async () => ['vae/none.json'] }),
      sanaError('ERR_SANA_DOWNLOAD', 'owner/model has no file vae/none.json'),
    );
  });

  it('reports its progress as one number that grows to the total', async () => {
    context.hub.add(REPOSITORY, FILES);
    const events: TransferProgress[] = [];
    await pull(newCache(), { onProgress: (event) => events.push(event) });
    const last = events.at(-1);
    assert.deepEqual([last?.loadedBytes, last?.totalBytes], [500_016, 500_016]);
    for (const [i, { loadedBytes, totalBytes, bytesPerSecond }] of events.entries()) {
      assert.ok(loadedBytes >= (events[i - 1]?.loadedBytes ?? 0));
      assert.ok(totalBytes === 0 || loadedBytes <= totalBytes);
      assert.ok(bytesPerSecond >= 0);
    }
    const cache = newCache();
    await pull(cache);
    const none: TransferProgress[] = [];
    await pull(cache, { onProgress: (event) => none.push(event) });
    assert.deepEqual(none, []); // nothing was downloaded
  });

  it('an error of the progress callback ends it', async () => {
    context.hub.add(REPOSITORY, FILES);
    const onProgress = () => {
      throw new Error('enough');
    };
    await assert.rejects(pull(newCache(), { onProgress }), /^Error: enough$/);
  });

  describe('offline', () => {
    it('comes from the cache without a request', async () => {
      context.hub.add(REPOSITORY, FILES);
      const cache = newCache();
      const { folder } = await pull(cache);
      context.hub.requests.length = 0;
      assert.equal((await pull(cache, { localFilesOnly: true })).folder, folder);
      process.env.HF_HUB_OFFLINE = '1';
      assert.equal((await pull(cache, { localFilesOnly: false })).folder, folder); // the environment has the last word
      await assert.rejects(
        pull(newCache()),
        sanaError('ERR_SANA_DOWNLOAD', 'not in the cache', 'nothing of it is there'),
      );
      await assert.rejects(
        pull(cache, { revision: 'v2' }),
        sanaError('ERR_SANA_DOWNLOAD', 'owner/model at v2 is not in the cache'),
      );
      assert.equal(context.hub.requests.length, 0);
    });

    it('comes from the cache when the hub does not answer, unless it is to be new', async () => {
      context.hub.add(REPOSITORY, FILES);
      const cache = newCache();
      const { folder } = await pull(cache);
      context.hub.fault = (request, response) => {
        if (request.url?.startsWith('/api/') === true) response.destroy();
        return true;
      };
      assert.equal((await pull(cache)).folder, folder);
      await assert.rejects(
        pull(cache, { refresh: true }),
        sanaError('ERR_SANA_DOWNLOAD', 'cannot list', 'tried 3 times'),
      );
      process.env.HF_ENDPOINT = 'http://127.0.0.1:1'; // nobody is there
      assert.equal((await pull(cache)).folder, folder);
      await assert.rejects(pull(newCache()), sanaError('ERR_SANA_DOWNLOAD', 'no answer from 127.0.0.1:1'));
    });
  });

  describe('on a disk', () => {
    it('that may not be written is an error of the cache, which still serves what it has', async () => {
      context.hub.add(REPOSITORY, FILES);
      const cache = newCache();
      const { folder } = await pull(cache);
      const other = newCache();
      // Permissions do not stop root; a file where a folder is to be does.
      writeFileSync(join(other, 'models--owner--model'), '');
      await assert.rejects(pull(other), sanaError('ERR_SANA_FILE', 'cannot be written', other));
      rmSync(repository(cache, 'refs'), { recursive: true });
      writeFileSync(repository(cache, 'refs'), '');
      assert.equal((await pull(cache)).folder, folder);
    });

    it('with something of another kind in the place of a file is an error', async () => {
      const { files } = context.hub.add(REPOSITORY, FILES);
      const cache = newCache();
      mkdirSync(repository(cache, 'blobs', `${files.get('vae/weights.safetensors')?.hash}.incomplete`), {
        recursive: true,
      });
      await assert.rejects(pull(cache), sanaError('ERR_SANA_FILE', 'EISDIR'));
    });
  });

  it('is rejected if its name could lead outside the cache', async () => {
    for (const revision of [
      '../main',
      '/etc',
      'a//b',
      'a/..',
      '.git',
      'a/.b',
      'x.lock',
      'a b',
      '',
      'a\0',
      '-x',
      'a\\b',
    ]) {
      await assert.rejects(pull(newCache(), { revision }), sanaError('ERR_SANA_ARGUMENT', '`revision`'), revision);
    }
    for (const name of ['../x', '/etc/x', 'a/../b', 'a\\b', 'C:x', 'x\0', 'a//b', '.x', 'x ', 'x.', '%2e%2e/x']) {
      context.hub.add(REPOSITORY, { [name]: 'x' });
      const wanted = pull(newCache());
      if (name === '%2e%2e/x') await assert.rejects(wanted);
      else await assert.rejects(wanted, sanaError('ERR_SANA_INTEGRITY', 'not a valid file name'), name);
    }
    assert.deepEqual(context.hub.downloads(), []);
  });
});
