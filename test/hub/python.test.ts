import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fakeHub, noise, REPOSITORY } from './support.ts';

/** A Python with huggingface_hub: `SANA_TEST_PYTHON`, else `python3`. */
const python = process.env.SANA_TEST_PYTHON ?? 'python3';

describe('the cache shared with Python', () => {
  const context = fakeHub();
  const { pull, newCache } = context;
  const FILES = {
    'model_index.json': '{"a": 1}',
    'vae/config.json': '{"b": 2}',
    'vae/weights.safetensors': noise(300_000),
  };
  const LARGE = noise(8 << 20);

  before(function () {
    try {
      execFileSync(python, ['-c', 'import huggingface_hub, filelock'], { stdio: 'ignore' });
    } catch {
      console.log('      no Python with huggingface_hub: set SANA_TEST_PYTHON');
      this.skip();
    }
  });

  /** What a program prints, in the environment that this process has now. */
  const run = async (program: string, env: Record<string, string> = {}) => {
    const more = { HF_HUB_DISABLE_TELEMETRY: '1', HF_HUB_DISABLE_XET: '1', HF_HUB_DISABLE_PROGRESS_BARS: '1', ...env };
    const { stdout } = await promisify(execFile)(python, ['-c', program], { env: { ...process.env, ...more } });
    return stdout.trim();
  };

  it('is used by Python as we leave it, without a request', async () => {
    const { commit } = context.hub.add(REPOSITORY, FILES);
    const cache = newCache();
    const { folder } = await pull(cache);
    context.hub.requests.length = 0;
    const program = `
import json, huggingface_hub as h
path = h.hf_hub_download('${REPOSITORY}', 'vae/weights.safetensors')
scan = h.scan_cache_dir()
[repo] = scan.repos
[revision] = repo.revisions
print(json.dumps([path, h.snapshot_download('${REPOSITORY}'), len(scan.warnings), repo.repo_id, revision.commit_hash,
  sorted(revision.refs), sorted(str(f.file_path) for f in revision.files), repo.size_on_disk]))`;
    const env = { HF_HUB_CACHE: cache, HF_HUB_OFFLINE: '1' };
    assert.deepEqual(JSON.parse(await run(program, env)), [
      join(folder, 'vae/weights.safetensors'),
      folder,
      0,
      REPOSITORY,
      commit,
      ['main'],
      Object.keys(FILES).map((name) => join(folder, name)),
      300_016,
    ]);
    assert.equal(context.hub.requests.length, 0);
    // With a network it asks what there is, and downloads nothing.
    await run(`import huggingface_hub as h; h.snapshot_download('${REPOSITORY}')`, { HF_HUB_CACHE: cache });
    assert.ok(context.hub.requests.length > 0);
    assert.deepEqual(context.hub.downloads(), []);
  });

  it('is used by us as Python leaves it, without a request', async () => {
    const { commit } = context.hub.add(REPOSITORY, FILES);
    const cache = newCache();
    const program = `import huggingface_hub as h; print(h.snapshot_download('${REPOSITORY}', allow_patterns=['*.json']))`;
    const folder = await run(program, { HF_HUB_CACHE: cache });
    assert.ok(existsSync(join(folder, 'vae/config.json')));
    context.hub.requests.length = 0;
    assert.equal((await pull(cache, { localFilesOnly: true })).folder, folder);
    assert.equal((await pull(cache, { revision: commit })).folder, folder);
    assert.equal(context.hub.requests.length, 0);
    await pull(cache); // only what Python was not asked for
    assert.deepEqual(context.hub.downloads(), ['vae/weights.safetensors']);
    assert.ok(readFileSync(join(folder, 'vae/weights.safetensors')).equals(FILES['vae/weights.safetensors']));
  });

  it('is locked as Python locks it: each waits for the other', async function () {
    try {
      execFileSync('flock', ['--version'], { stdio: 'ignore' });
    } catch {
      this.skip(); // flock(1) is what holds the lock for us
    }
    const { files } = context.hub.add(REPOSITORY, { 'weights.safetensors': LARGE });
    const hash = files.get('weights.safetensors')?.hash;
    const cache = newCache();
    const lock = join(cache, '.locks', 'models--owner--model', `${hash}.lock`);
    mkdirSync(join(lock, '..'), { recursive: true });

    const holder = `
import sys, filelock
with filelock.FileLock(sys.argv[1], mode=0o664):
    print('held', flush=True)
    sys.stdin.read()`;
    const child = spawn(python, ['-c', holder, lock], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    let done = false;
    const wanted = pull(cache).then(() => {
      done = true;
    });
    await new Promise((later) => setTimeout(later, 300));
    assert.deepEqual(context.hub.downloads(), []);
    assert.equal(done, false);
    child.stdin.end();
    await wanted;
    assert.deepEqual(context.hub.downloads(), ['weights.safetensors']);

    const other = newCache();
    const theirs = join(other, '.locks', 'models--owner--model', `${hash}.lock`);
    const tryIt = `
import sys, filelock
try:
    with filelock.FileLock(sys.argv[1], timeout=0): print('free')
except filelock.Timeout: print('held')`;
    const attempt = async () => (await promisify(execFile)(python, ['-c', tryIt, theirs])).stdout.trim();
    let during = '';
    context.hub.fault = async (request) => {
      if (request.url?.startsWith('/storage/')) during = await attempt();
      return false;
    };
    await pull(other);
    assert.deepEqual([during, await attempt()], ['held', 'free']);
  });
});
