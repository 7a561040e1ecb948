import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prebuiltFolder } from '../../lib/device/addon/candidates.ts';
import { addonFile } from '../../lib/device/native.ts';
import { describeBinary, inspectBinary, problemsOf } from '../../scripts/prebuild/binary.ts';
import { temporaryFolder } from '../support/files.ts';

describe('a binary of a release', () => {
  const folder = temporaryFolder();

  it('asks for nothing that a system of 2022 does not have: the addon, and all that is prebuilt here', function () {
    if (process.env.SANA_NATIVE_ADDON) {
      console.log('    skipped: SANA_NATIVE_ADDON names a build with sanitizers, which is no release');
      this.skip();
    }
    const prebuilt = existsSync(prebuiltFolder) ? readdirSync(prebuiltFolder) : [];
    for (const file of [addonFile(), ...prebuilt.map((name) => join(prebuiltFolder, name))]) {
      const binary = inspectBinary(file);
      assert.deepEqual(problemsOf(binary), [], describeBinary(binary));
      assert.ok(binary.needed.includes('libc.so.6') && binary.versions.has('GLIBC'));
    }
  });

  it('is rejected if its inputs or outputs differ', () => {
    const source = join(folder.path, 'a.c');
    const other = join(folder.path, 'libother.so');
    const file = join(folder.path, 'libsana_cuda99.so');
    writeFileSync(source, 'int other(void) { return 1; }\n');
    execFileSync('cc', ['-shared', '-fPIC', '-o', other, source]);
    writeFileSync(
      source,
      'int other(void);\nint sana_backend(void) { return other(); }\nint loose(void) { return 2; }\n',
    );
    execFileSync('cc', ['-shared', '-fPIC', '-Wl,--no-as-needed', '-o', file, source, other]);
    const binary = inspectBinary(file);
    assert.deepEqual(problemsOf(binary), [`libsana_cuda99.so needs ${other}`, 'libsana_cuda99.so exports loose']);
    const versions = new Map([
      ['GLIBC', '2.4'],
      ['GLIBCXX', '3.4.30'],
      ['LIBODD', '1.0'],
    ]);
    const newer = { ...binary, needed: ['libm.so.6'], exported: ['sana_backend'], versions, bytes: 31e6 };
    assert.deepEqual(problemsOf(newer), [
      'libsana_cuda99.so needs GLIBCXX_3.4.30, above 3.4.29',
      'libsana_cuda99.so needs LIBODD_1.0, no release of it is promised',
      'libsana_cuda99.so has 31.00 MB, above 30',
    ]);
    assert.deepEqual(problemsOf({ ...newer, versions: new Map(), bytes: 1, exported: [] }), [
      'libsana_cuda99.so exports nothing',
    ]);
  });
});
