import assert from 'node:assert/strict';
import { loadError, reasonOf } from '../../../lib/device/addon/load-error.ts';

/** The whole error for a file that failed for such a reason. */
const errorFor = (reason: string) => loadError([{ file: '/p/sana_native.node', reason }], new Error(reason));

describe('the error of an addon that cannot be loaded', () => {
  for (const [reason, fix] of [
    ["/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (ERR_DLOPEN_FAILED)", /older than.*glibc 2\.34/],
    ["/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found", /older than/],
    ['Error loading shared library ld-linux-x86-64.so.2: No such file or directory', /not for musl .*bookworm-slim/],
    ['Error relocating /p/sana_native.node: fcntl64: symbol not found', /musl/],
    ['invalid ELF header (ERR_DLOPEN_FAILED)', /for another system, or damaged: install the package again/],
    ['file too short', /damaged/],
    ['libstdc++.so.6: cannot open shared object file', /libstdc\+\+6/],
    ['Cannot load native addon because loading addons is disabled. (ERR_DLOPEN_DISABLED)', /without --no-addons/],
    ['undefined symbol: napi_create_threadsafe_function', /Node 20\.19/],
    ['cannot open shared object file: Permission denied', /noexec/],
    ['something new', /Install the package again, or run `npx sana-native build`/],
  ] as const) {
    it(`says what to do about "${reason.slice(0, 60)}"`, () => {
      const { code, message, hint } = errorFor(reason);
      assert.equal(code, 'ERR_SANA_ADDON');
      assert.ok(message.includes(`/p/sana_native.node: ${reason}`), message);
      assert.match(hint, fix);
    });
  }

  it('lists every file with its reason, and every fix once', () => {
    const files = ['/a.node', '/b.node', '/c.node'];
    const failed = files.map((file, i) => ({ file, reason: i < 2 ? 'file too short' : 'something new' }));
    const { message, hint } = loadError(failed, undefined);
    for (const file of files) assert.ok(message.includes(`\n  ${file}: `), message);
    assert.equal(hint.match(/damaged/g)?.length, 1);
    assert.equal(hint.match(/npx sana-native build/g)?.length, 2);
  });

  it('says how to build one if there is none', () => {
    const { message, hint } = loadError([], undefined);
    assert.match(message, /There is no native addon for .*: neither prebuilt in prebuilds.* nor compiled/);
    assert.match(hint, /^To compile it for this system, run `npx sana-native build`, which needs CMake/);
  });

  it('gives the reason in a line, without the name of the file', () => {
    const error = Object.assign(new Error('/p/x.node: invalid ELF header\nmore'), { code: 'ERR_DLOPEN_FAILED' });
    assert.equal(reasonOf(error, '/p/x.node'), 'invalid ELF header (ERR_DLOPEN_FAILED)');
    assert.equal(reasonOf('odd', '/p/x.node'), 'odd');
  });
});
