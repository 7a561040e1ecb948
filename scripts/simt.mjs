// Builds the emulated CUDA backend into build-simt/ and runs the operators', models' and pipelines' tests on it, or the
// tests named as arguments. Without the CUDA headers it says so and does nothing.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const headers = [process.env.CUDA_HOME, '/usr/local/cuda'].filter(Boolean).map((home) => join(home, 'include'));
if (!headers.some((folder) => existsSync(join(folder, 'cuda_runtime_api.h')))) {
  console.log(`skipped: the emulated CUDA backend needs CUDA's headers; none in ${headers.join(', ')} (set CUDA_HOME)`);
  process.exit(0);
}

const run = (command, args, env) => {
  const { status, signal } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) {
    console.error(`${command} ended by ${signal ?? `status ${status}`}`);
    process.exit(1);
  }
};

run('cmake', ['-S', 'test/simt', '-B', 'build-simt', '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=None']);
run('cmake', ['--build', 'build-simt']);
const tests = process.argv.length > 2 ? process.argv.slice(2) : ['test/operators/*.test.ts'];
run(join('node_modules', '.bin', 'mocha'), tests, {
  SANA_NATIVE_CUDA: resolve('build-simt/libsana_simt.so'),
  SANA_TEST_DEVICE: 'cuda',
});
