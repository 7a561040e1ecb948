import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fakeHub } from '../hub/support.ts';
import { sanaNative } from '../support/cli.ts';
import { tinyModel } from '../support/pipelines.ts';

const REPOSITORY = 'owner/tiny';

describe('sana-native pull', () => {
  const context = fakeHub();

  it('prints the folder; generate then uses the model from the cache', async () => {
    const { commit } = context.hub.addFolder(REPOSITORY, tinyModel);
    const cache = context.newCache();
    const pulled = await sanaNative(['pull', REPOSITORY, '--cache-dir', cache]);
    assert.equal(pulled.code, 0, pulled.stderr);
    const folder = join(cache, 'models--owner--tiny', 'snapshots', commit);
    assert.deepEqual([pulled.stdout.toString(), pulled.stderr], [`${folder}\n`, '']);
    context.hub.requests.length = 0;
    const made = join(context.folder, 'fox.png');
    const small = ['-W', '96', '-H', '64', '--no-use-resolution-binning', '--steps', '1', '--dtype', 'float32'];
    const source = ['--model', REPOSITORY, '--cache-dir', cache, '--local-files-only'];
    const drawn = await sanaNative(['generate', 'x', ...source, ...small, '-o', made]);
    assert.equal(drawn.code, 0, drawn.stderr);
    assert.ok(existsSync(made));
    assert.deepEqual(context.hub.requests, []);
    const again = await sanaNative(['pull', REPOSITORY, '--cache-dir', cache, '--revision', 'v1.0', '--json']);
    const { files, ...report } = JSON.parse(again.stdout.toString());
    assert.deepEqual(report, { repository: REPOSITORY, commit, folder, receivedBytes: 0 });
    assert.deepEqual(files[0], { name: 'model_index.json', bytes: 401 });
  });

  it('reports an error in one line', async () => {
    const failures: readonly [readonly string[], number, RegExp][] = [
      [[], 2, /missing required argument 'repository'/i],
      [['./folder'], 2, /`repository` to be a name such as/],
      [['owner/none'], 1, /no repository owner\/none on 127\.0\.0\.1:\d+, or it is private\n {2}Check the name/],
      [['owner/tiny', '--revision', 'v9'], 1, /no revision "v9"\n {2}.*There are main, v1\.0/],
      [['owner/tiny', '--variant', '../x'], 2, /`variant`/],
    ];
    const run = ([args, code, message]: (typeof failures)[number]) =>
      sanaNative(['pull', ...args]).then((result) => {
        assert.match(result.stderr, message);
        assert.deepEqual([result.code, result.stdout.length], [code, 0]);
        assert.doesNotMatch(result.stderr, /\n\s+at /);
      });
    await Promise.all(failures.map(run));
  });

  it('stops at an interrupt with 130, keeps what has come, and goes on the next time', async () => {
    context.hub.addFolder(REPOSITORY, tinyModel);
    const cache = context.newCache();
    let stop = () => {};
    context.hub.fault = (request, response, file) => {
      if (!request.url?.startsWith('/storage/') || file?.name.startsWith('vae/') !== true) return false;
      response.writeHead(200, { 'content-length': String(file.data.length) });
      response.write(file.data.subarray(0, 1_200_000), () => setTimeout(stop, 200));
      return true;
    };
    const { code, stderr } = await sanaNative(['pull', REPOSITORY, '--cache-dir', cache], '', (child) => {
      stop = () => child.kill('SIGINT');
    });
    assert.deepEqual([code, stderr], [130, 'sana-native: Interrupted\n']);
    const blobs = readdirSync(join(cache, 'models--owner--tiny', 'blobs'));
    assert.equal(blobs.filter((name) => name.endsWith('.incomplete')).length, 1);
    assert.equal(existsSync(join(cache, 'models--owner--tiny', 'refs')), false);
    context.hub.fault = undefined;
    context.hub.requests.length = 0;
    assert.equal((await sanaNative(['pull', REPOSITORY, '--cache-dir', cache])).code, 0);
    const [rest] = context.hub.requests.filter(({ path }) => path.startsWith('/storage/'));
    assert.match(rest?.range ?? '', /^bytes=1\d{6}-$/);
  });
});
