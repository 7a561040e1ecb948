import assert from 'node:assert/strict';
import { SanaError } from '../../lib/base/errors.ts';
import { checkLoadOptions } from '../../lib/request/load-options.ts';
import type { LoadOptions } from '../../lib/request/types.ts';

describe('the options of loading', () => {
  it('have defaults', () => {
    assert.deepEqual(checkLoadOptions(), {
      device: 'auto',
      dtype: 'auto',
      variant: null,
      revision: undefined,
      cacheDir: undefined,
      localFilesOnly: undefined,
      token: undefined,
      threads: 0,
      offload: 'none',
      controlnet: null,
      instructionCache: undefined,
      onProgress: undefined,
      signal: undefined,
    });
  });

  it('are kept when they are given', () => {
    const given = {
      device: 'cuda:1',
      dtype: 'bfloat16',
      variant: 'fp16',
      revision: 'refs/pr/1',
      cacheDir: 'here',
      localFilesOnly: true,
      token: 'hf_secret',
      threads: 3,
      offload: 'sequential',
      controlnet: 'path/to/controlnet',
      instructionCache: 'kept/here',
      onProgress: () => {},
      signal: new AbortController().signal,
    } as const;
    assert.deepEqual(checkLoadOptions(given), given);
  });

  const rejected: readonly [object | null, RegExp, RegExp?][] = [
    [{ device: 'gpu' }, /`device` to be 'auto', 'cpu', 'cuda' or 'cuda:0', got 'gpu'/],
    [{ device: 'cuda:' }, /`device`/],
    [{ device: 0 }, /`device`/],
    [{ dtype: 'fp16' }, /`dtype` to be 'auto' or 'float32'/],
    [{ variant: '../x' }, /`variant`/],
    [{ variant: '' }, /`variant`/],
    [{ threads: 0 }, /`threads` to be an integer from 1 to 1024/],
    [{ threads: 2.5 }, /`threads`/],
    [{ offload: 'all' }, /`offload`/],
    [{ onProgress: true }, /`onProgress` to be a function/],
    [{ signal: 'abort' }, /`signal` to be an AbortSignal/],
    [{ controlnet: '' }, /`controlnet` to be the path of a folder/],
    [{ instructionCache: '' }, /`instructionCache`/],
    [{ instructionCache: 7 }, /`instructionCache`/],
    [{ controlnet: 7 }, /`controlnet`/],
    [{ token: ['secret'] }, /`token` to be a string/],
    [{ revision: '../main' }, /`revision` to be a branch, tag or commit/],
    [{ revision: 1 }, /`revision` to be a text/],
    [{ cacheDir: '' }, /`cacheDir` to be a text/],
    [{ localFilesOnly: 'yes' }, /`localFilesOnly` to be true or false/],
    [{ torchDtype: 'x' }, /unknown key, `torchDtype`/],
    [{ Device: 'cpu' }, /unknown key/, /`device`/],
    [{ numThreads: 2 }, /unknown key/, /`threads`/],
    [null, /`options` to be an object, got null/],
    [[], /`options` to be an object/],
  ];
  for (const [options, message, hint] of rejected) {
    it(`are rejected when they are ${JSON.stringify(options)}`, () => {
      assert.throws(
        () => checkLoadOptions(options as LoadOptions),
        (error) => {
          assert.ok(error instanceof SanaError, String(error));
          assert.equal(error.code, 'ERR_SANA_ARGUMENT');
          assert.match(error.message, message);
          assert.match(error.hint, hint ?? /./);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        },
      );
    });
  }
});
