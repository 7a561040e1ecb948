import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { buildFromSource } from '../../../lib/device/addon/source-build.ts';
import { sanaError } from '../../support/errors.ts';
import { temporaryFolder } from '../../support/files.ts';

// A whole build takes minutes: test/package builds from the packed sources where SANA_TEST_SOURCE_BUILD is set, as CI does.
describe('building from source', () => {
  const folder = temporaryFolder();
  const { PATH = '' } = process.env;
  let output: string[] = [];
  const build = (cuda = 'off', signal = new AbortController().signal) => {
    output = [];
    return buildFromSource({ cuda, onOutput: (text) => void output.push(text), signal });
  };

  /** A program of that name, a shell script, before all others on the path. */
  function program(name: string, script: string): string {
    const file = join(folder.path, name);
    mkdirSync(folder.path, { recursive: true });
    writeFileSync(file, `#!/bin/sh\n${script}\n`);
    chmodSync(file, 0o755);
    return file;
  }
  beforeEach(() => {
    process.env.PATH = `${folder.path}${delimiter}${PATH}`;
  });
  afterEach(() => {
    process.env.PATH = PATH;
    delete process.env.CXX;
    delete process.env.CUDACXX;
    for (const name of ['cmake', 'nvcc']) rmSync(join(folder.path, name), { force: true });
  });

  it('reports which tool is missing or too old, and where to get it', async () => {
    process.env.PATH = folder.path;
    await assert.rejects(build(), sanaError('ERR_SANA_ADDON', 'needs CMake', 'no `cmake` on the path'));
    program('cmake', 'echo "cmake version 3.18.4"');
    await assert.rejects(build(), sanaError('ERR_SANA_ADDON', 'needs CMake 3.24, found 3.18'));
    program('cmake', 'echo "cmake version 4.0.1"');
    await assert.rejects(build(), sanaError('ERR_SANA_ADDON', 'C++20 compiler', 'c++, g++, clang++'));
    process.env.PATH = `${folder.path}${delimiter}${PATH}`;
    process.env.CXX = join(folder.path, 'none');
    const error: Error & { hint?: string } = await build().catch((reason) => reason);
    assert.ok(sanaError('ERR_SANA_ADDON', `there is no ${process.env.CXX}`)(error));
    assert.match(String(error.hint), /apt install cmake g\+\+ make/);
  });

  it('finds the requested CUDA compiler, or reports that it is missing', async () => {
    program('cmake', 'echo "cmake version 3.30.0"; [ "$1" = --version ] || { echo "$@"; exit 1; }');
    await assert.rejects(build('/none/nvcc'), sanaError('ERR_SANA_ADDON', '/none/nvcc is not a working nvcc'));
    await assert.rejects(build('99'), sanaError('ERR_SANA_ADDON', 'no nvcc of CUDA 99'));
    const nvcc = program('nvcc', 'echo "Cuda compilation tools, release 99.4, V99.4.131"');
    await assert.rejects(build('99'), sanaError('ERR_SANA_ADDON', 'cmake -S failed'));
    process.env.CUDACXX = nvcc;
    await assert.rejects(build('98'), sanaError('ERR_SANA_ADDON', 'no nvcc of CUDA 98'));
  });

  it('passes the output on, and gives the first error of a step that fails', async () => {
    program(
      'cmake',
      'if [ "$1" = --version ]; then echo "cmake version 3.30.0"; exit; fi\necho "$@"\n[ "$1" = -S ] && exit\necho "x.cc:1:2: error: no such thing"; exit 2',
    );
    await assert.rejects(build(), sanaError('ERR_SANA_ADDON', 'cmake --build failed: x.cc:1:2: error: no such thing'));
    assert.match(output.join(''), /-DCMAKE_BUILD_TYPE=Release .*-DCMAKE_JS_INC=.*node-addon-api/);
    assert.match(output.join(''), /--build .*--parallel \d+/);
  });

  it('is stopped by its signal', async () => {
    program('cmake', 'if [ "$1" = --version ]; then echo "cmake version 3.30.0"; exit; fi\nexec sleep 30');
    const controller = new AbortController();
    const reason = new Error('enough');
    setTimeout(() => controller.abort(reason), 200);
    await assert.rejects(build('off', controller.signal), reason);
  });
});
