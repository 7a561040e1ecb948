import assert from 'node:assert/strict';
import type { SanaError } from '../../lib/base/errors.ts';
import { retryAfterMs } from '../../lib/hub/failures.ts';
import { parseListing } from '../../lib/hub/listing.ts';
import { openSnapshot } from '../../lib/hub/snapshot.ts';
import { sanaError } from '../support/errors.ts';
import { refuse } from '../support/fake-hub.ts';
import { fakeHub, IMPATIENT, REPOSITORY } from './support.ts';

const unexpected = (): never => assert.fail('expected an error');

describe('the contents of a repository', () => {
  const context = fakeHub();
  const ask = (repository: string, revision?: string) =>
    openSnapshot(repository, {
      cacheDir: context.newCache(),
      revision,
      patience: IMPATIENT,
      choose: async () => [],
      look: async () => 'usable',
      suggestions: {
        repositories: ['owner/model', 'owner/other'],
        nearest: (typed, names) => names.find((name) => name.startsWith(typed.slice(0, 3))),
      },
    });
  /** A refusal of every request, and the error of it. */
  const refused = async (status: number, code?: string, headers: Record<string, string> = {}): Promise<SanaError> => {
    context.hub.fault = (_, response) => {
      refuse(response, status, code, headers);
      return true;
    };
    return await ask(REPOSITORY).then(unexpected, (error) => error);
  };

  it('is not known of a repository that is not there, nor of a private one', async () => {
    const error: SanaError = await ask('owner/modell').then(unexpected, (reason) => reason);
    sanaError('ERR_SANA_DOWNLOAD', 'no repository owner/modell', 'or it is private')(error);
    assert.match(error.hint, /Did you mean owner\/model\?.*HF_TOKEN/);
    process.env.HF_TOKEN = 'hf_secret';
    const withToken: SanaError = await ask('owner/modell').then(unexpected, (reason) => reason);
    assert.match(withToken.hint, /the token must belong to an account that may read it/);
    assert.match(
      (await refused(401, undefined, { 'x-error-message': 'Invalid credentials in Authorization header' })).message,
      /the token is invalid/,
    );
  });

  it('is not known of a revision that is not there; those that are there are named', async () => {
    context.hub.add(REPOSITORY, { a: 'b' });
    const error: SanaError = await ask(REPOSITORY, 'v1').then(unexpected, (reason) => reason);
    sanaError('ERR_SANA_DOWNLOAD', 'owner/model has no revision "v1"')(error);
    assert.equal(error.hint, 'Did you mean v1.0? There are main, v1.0.');
    assert.match(((await ask(REPOSITORY, 'mainn').catch((reason) => reason)) as SanaError).hint, /Did you mean main\?/);
  });

  it('of a gated repository fails, and the error says where to accept its licence', async () => {
    const without = await refused(401, 'GatedRepo');
    sanaError('ERR_SANA_DOWNLOAD', 'owner/model is gated')(without);
    assert.match(without.hint, /Accept the licence at http:\/\/127\.0\.0\.1:\d+\/owner\/model, and pass a token/);
    process.env.HF_TOKEN = 'hf_secret';
    const refusedToken = await refused(403, 'GatedRepo');
    assert.match(refusedToken.hint, /with the account that the token belongs to/);
    assert.ok(![without, refusedToken].some(({ message, hint }) => `${message}${hint}`.includes('hf_secret')));
  });

  it('is requested again while the hub is busy, then fails', async () => {
    const error = await refused(503);
    sanaError('ERR_SANA_DOWNLOAD', 'status 503', 'tried 3 times')(error);
    assert.match(error.hint, /HTTPS_PROXY/);
    const teapot = await refused(418, undefined, { 'x-error-message': 'I am a "teapot"' });
    sanaError('ERR_SANA_DOWNLOAD', 'status 418: "I am a \\"teapot\\""')(teapot);
  });

  it("is not taken from an answer that is no hub's", async () => {
    const answer = (body: string, headers = {}) => {
      context.hub.fault = (_, response) => {
        response.writeHead(200, headers).end(body);
        return true;
      };
      return ask(REPOSITORY);
    };
    await assert.rejects(answer('<html>Please log in</html>'), sanaError('ERR_SANA_DOWNLOAD', 'not JSON'));
    await assert.rejects(answer('[]'), sanaError('ERR_SANA_DOWNLOAD', 'not the description'));
    await assert.rejects(answer('{"siblings": [], "sha": "main"}'), sanaError('ERR_SANA_DOWNLOAD', 'names no commit'));
    await assert.rejects(answer('x'.repeat(33 << 20)), sanaError('ERR_SANA_INTEGRITY', 'more than'));
    await assert.rejects(answer('{}', { 'content-encoding': 'br' }), sanaError('ERR_SANA_INTEGRITY', '"br"'));
  });

  it('leaves out files that are described by halves', () => {
    const sha = 'c'.repeat(40);
    const good = { rfilename: 'a', size: 3, blobId: 'a'.repeat(40) };
    const odd = [
      null,
      3,
      {},
      { ...good, size: -1 },
      { ...good, size: 2 ** 60 },
      { ...good, blobId: '../x' },
      { ...good, lfs: { sha256: 'x', size: 3 } },
    ];
    const { files, commit } = parseListing({ sha, siblings: [...odd, good] }, REPOSITORY);
    assert.deepEqual([commit, [...files.values()]], [sha, [{ name: 'a', size: 3, hash: 'a'.repeat(40) }]]);
    assert.throws(() => parseListing({ sha, siblings: odd }, REPOSITORY), sanaError('ERR_SANA_DOWNLOAD', 'no files'));
  });

  it('reads Retry-After as seconds and as a date', () => {
    assert.equal(retryAfterMs('3'), 3000);
    assert.equal(retryAfterMs('Thu, 01 Jan 1970 00:00:05 GMT', 2000), 3000);
    assert.equal(retryAfterMs('Thu, 01 Jan 1970 00:00:05 GMT', 9000), 0);
    for (const text of [undefined, '', 'soon', '-1', '1e9', ['3']])
      assert.equal(retryAfterMs(text), undefined, String(text));
  });
});
