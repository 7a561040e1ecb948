// Builds the emulated CUDA backend (test/simt/) into build-simt/, in three builds, and runs the self-tests and the tests
// of operators, networks and pictures on it:
//
//   fast       everything but the largest operators; leaves a trace of the launches for `npm run kernels:report`
//   checked    operators; every memory access of every kernel is checked, so examples with much work are left out
//   sanitized  operators, with the same left out
//
//   node scripts/simt.mjs [--build fast|checked|sanitized]... [tests and options of mocha]
//
// Each build runs the matrix products twice, the second time with the instructions of sm_90a.
//
// The emulation is one thread: parts of the tests are separate processes, as many at a time as there are processors.
//
// Tests named as arguments, or chosen with -g, replace the usual ones in every build.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { processors, Steps } from './steps.mjs';

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

const operatorTests = (...names) => names.map((name) => `test/operators/${name}.test.ts`);
// These test only the addon, which is the same in every build.
const ofTheCpu = ['instruction-sets', 'packing', 'tolerances'];
const operators = readdirSync('test/operators').map((name) => name.replace('.test.ts', ''));
const ofProducts = ['linear', 'convolutions'];
const others = operators.filter((name) => ![...ofTheCpu, ...ofProducts].includes(name));
const pictures = ['golden', 'cuda', 'int8', 'other-checkpoints', 'sprint'].map(
  (name) => `test/pipeline/${name}.test.ts`,
);

/** The parts of a build's tests, each a process: the longest start first. */
const parts = {
  linear: { tests: operatorTests('linear') },
  convolutions: { tests: operatorTests('convolutions') },
  'other operators': { tests: operatorTests(...others) },
  networks: { tests: ['test/networks/*.test.ts'] },
  pictures: { tests: [...pictures, 'test/binding/cuda.test.ts'] },
  // Only what these instructions compute: the rest would be the same again. A tile of two products per warpgroup and a
  // width that is not a multiple of 32 is forced, so that small shapes also use it.
  sm_90a: {
    tests: [...operatorTests(...ofProducts), '-g', '^(linear|conv2d|upsampleConv2d) in (bf16|f16) '],
    env: { SIMT_CAPABILITY: '90', SANA_NATIVE_CUDA_PATH: 'sm_90a-wgmma:256x144' },
  },
};

// The runtimes must be preloaded, because node itself is built without them.
const runtime = (name) => execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
const flops = process.env.SANA_TEST_FLOPS;
const builds = {
  fast: {
    suffix: '',
    parts: Object.keys(parts),
    env: { SANA_TEST_FLOPS: flops ?? '2e7', SIMT_TRACE: resolve('build-simt/libsana_simt.so.trace') },
  },
  checked: {
    suffix: '_checked',
    parts: ['linear', 'convolutions', 'other operators', 'sm_90a'],
    env: { SANA_TEST_FLOPS: flops ?? '5e5' },
  },
  sanitized: {
    suffix: '_sanitized',
    parts: ['linear', 'convolutions', 'other operators', 'sm_90a'],
    env: {
      SANA_TEST_FLOPS: flops ?? '5e5',
      LD_PRELOAD: [runtime('libasan.so'), runtime('libubsan.so')].join(' '),
      // V8 does not free its memory when a process ends, and the leak checker would report megabytes of it.
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
if (namesTests || given.some((argument) => /^(-g|--grep)$/.test(argument))) {
  parts.given = { tests: namesTests ? given : [...operatorTests(...operators), ...given] };
  for (const name of names) builds[name].parts = ['given'];
}

const steps = new Steps();
const targets = names.flatMap((name) => [`sana_simt${builds[name].suffix}`, `simt_selftest${builds[name].suffix}`]);
const configure = ['-S', 'test/simt', '-B', 'build-simt', '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=None'];
const built =
  (await steps.run('simt: configure', 'cmake', configure)) &&
  (await steps.run('simt: build', 'cmake', ['--build', 'build-simt', '-j', `${processors}`, '--target', ...targets]));
if (!built) steps.end();

const run = (name, part) => {
  const { suffix, env } = builds[name];
  const library = { SANA_NATIVE_CUDA: resolve(`build-simt/libsana_simt${suffix}.so`), SANA_TEST_DEVICE: 'cuda' };
  const mocha = ['--timeout', '900000', ...parts[part].tests];
  const options = { env: { ...library, ...env, ...parts[part].env }, quiet: true };
  return steps.run(`${name}: ${part}`, join('node_modules', '.bin', 'mocha'), mocha, options);
};
for (const name of names) {
  if (builds[name].env.SIMT_TRACE) rmSync(builds[name].env.SIMT_TRACE, { force: true }); // addresses of an earlier build
}
const selfTest = (name) =>
  steps.run(`${name}: self-test`, resolve(`build-simt/simt_selftest${builds[name].suffix}`), [], { quiet: true });
await steps.sideBySide([
  ...names.flatMap((name) => builds[name].parts.map((part) => () => run(name, part))),
  ...names.map((name) => () => selfTest(name)),
]);
steps.end();
