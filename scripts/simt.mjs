// Builds the emulated CUDA backend (test/simt/) into build-simt/, in three builds, and runs the self-tests and the tests
// of operators, models and pictures on it:
//
//   fast       everything but the largest operators; leaves a trace of the launches for `npm run kernels:report`
//   checked    operators; every memory access of every kernel is looked at, so examples of much work are left out
//   sanitized  operators, likewise
//
//   node scripts/simt.mjs [--build fast|checked|sanitized]... [tests and options of mocha]
//
// Each build runs the matrix products twice, the second time by the instructions of sm_90a.
//
// Tests named as arguments, or chosen with -g, replace the usual ones in every build.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

const skip = (why) => {
  console.log(`skipped: the emulated CUDA backend needs ${why}`);
  process.exit(0);
};
if (process.platform !== 'linux' || process.arch !== 'x64')
  skip(`x86-64 Linux, this is ${process.platform} on ${process.arch}`);
const headers = [process.env.CUDA_HOME, '/usr/local/cuda'].filter(Boolean).map((home) => join(home, 'include'));
if (!headers.some((folder) => existsSync(join(folder, 'cuda_runtime_api.h')))) {
  skip(`CUDA's headers; none in ${headers.join(', ')} (set CUDA_HOME)`);
}

const flops = process.env.SANA_TEST_FLOPS ?? '5e5';
const operators = ['test/operators/*.test.ts'];
const products = ['linear', 'convolutions'].map((name) => `test/operators/${name}.test.ts`);
// A tile of two products per warpgroup and a width that is no multiple of 32: forced, so that small shapes take it too.
const hopper = { SIMT_CAPABILITY: '90', SANA_NATIVE_CUDA_PATH: 'sm_90a-wgmma:256x144' };
const pictures = ['golden', 'cuda', 'int8', 'other-checkpoints', 'sprint'].map(
  (name) => `test/pipeline/${name}.test.ts`,
);
// The runtimes must be there before the process starts: node itself is built without them.
const runtime = (name) => execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
const builds = {
  fast: {
    suffix: '',
    tests: [...operators, 'test/networks/*.test.ts', ...pictures, 'test/binding/cuda.test.ts'],
    env: {
      SANA_TEST_FLOPS: process.env.SANA_TEST_FLOPS ?? '2e7',
      SIMT_TRACE: resolve('build-simt/libsana_simt.so.trace'),
    },
  },
  checked: { suffix: '_checked', tests: operators, env: { SANA_TEST_FLOPS: flops } },
  sanitized: {
    suffix: '_sanitized',
    tests: operators,
    env: {
      SANA_TEST_FLOPS: flops,
      LD_PRELOAD: [runtime('libasan.so'), runtime('libubsan.so')].join(' '),
      // V8 keeps what it allocated when a process ends, which the leak checker reports by the megabyte.
      ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
      UBSAN_OPTIONS: 'print_stacktrace=1',
    },
  },
};

const given = process.argv.slice(2);
const chosen = [];
while (given.includes('--build')) {
  const [, name] = given.splice(given.indexOf('--build'), 2);
  if (!Object.hasOwn(builds, name)) {
    console.error(`--build takes one of ${Object.keys(builds).join(', ')}, got ${name}`);
    process.exit(2);
  }
  chosen.push(name);
}
const names = chosen.length > 0 ? chosen : Object.keys(builds);
const namesTests = given.some((argument) => /\.ts$/.test(argument));

const run = (command, args, env = {}) => {
  const start = performance.now();
  const { status, signal, error } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
  const seconds = `${((performance.now() - start) / 1000).toFixed(0)} s`;
  if (status === 0) return `passed in ${seconds}`;
  return `FAILED after ${seconds}: ${error?.message ?? (signal ? `ended by ${signal}` : `status ${status}`)}`;
};

const summary = [];
const step = (what, ...command) => {
  console.log(`\n${what}`);
  const outcome = run(...command);
  summary.push([what, outcome]);
  return outcome.startsWith('passed');
};

const targets = names.flatMap((name) => [`sana_simt${builds[name].suffix}`, `simt_selftest${builds[name].suffix}`]);
const configure = ['-S', 'test/simt', '-B', 'build-simt', '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=None'];
const built =
  step('configure', 'cmake', configure) &&
  step('build', 'cmake', ['--build', 'build-simt', '-j', '2', '--target', ...targets]);
for (const name of built ? names : []) {
  const { suffix, tests, env } = builds[name];
  if (env.SIMT_TRACE) rmSync(env.SIMT_TRACE, { force: true }); // addresses of an earlier build
  step(`${name}: self-test`, resolve(`build-simt/simt_selftest${suffix}`), []);
  const mocha = (what, files, more = {}) =>
    step(`${name}: ${what}`, join('node_modules', '.bin', 'mocha'), ['--timeout', '900000', ...files, ...given], {
      SANA_NATIVE_CUDA: resolve(`build-simt/libsana_simt${suffix}.so`),
      SANA_TEST_DEVICE: 'cuda',
      ...env,
      ...more,
    });
  mocha('tests', namesTests ? [] : tests);
  if (!namesTests) mocha('tests, sm_90a', products, hopper);
}

console.log('\n');
for (const [what, outcome] of summary) console.log(`${what.padEnd(24)} ${outcome}`);
process.exit(summary.every(([, outcome]) => outcome.startsWith('passed')) ? 0 : 1);
