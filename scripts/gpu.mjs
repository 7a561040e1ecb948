// `npm run test:gpu`: everything that the emulation tests, on a real GPU. Needs the addon (`npm run build`), the CUDA
// library (`npm run build:cuda -- --architectures native`) and a driver; without a GPU it prints why and does nothing.
//
//   1. the operators', models' and pipelines' tests on cuda:0
//   2. test/kernels: awkward shapes against the CPU backend
//   3. compute-sanitizer's four tools on the smallest of them, if it is installed
//
//   npm run test:gpu -- [--only tests | kernels | sanitizer | sm_90a]
//
// sm_90a, which runs only if named: test/kernels with the path that only compute capability 9.0 has, and a library that
// was built for 90a-real.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const wanted = (part) => values.only === undefined || values.only === part;
const failures = [];

const run = (what, command, args, env = {}) => {
  console.log(`\n== ${what}`);
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) failures.push(error ? `${what}: ${error.message}` : what);
  return status === 0;
};

const info = spawnSync(process.execPath, ['dist/cli/main.js', 'info', '--json'], { encoding: 'utf8' });
const { devices = [], libraries = [] } = info.status === 0 ? JSON.parse(info.stdout) : {};
const gpu = devices.find(({ id, problem }) => id.startsWith('cuda:') && problem === undefined);
if (gpu === undefined) {
  console.log('skipped: no GPU can be used here');
  for (const { file, problem } of libraries) console.log(`  ${file}: ${problem}`);
  for (const { id, problem } of devices) if (problem) console.log(`  ${id}: ${problem}`);
  process.exit(0);
}
console.log(`${gpu.id}: ${gpu.name}, ${gpu.path}`);
const library = libraries.find(({ problem }) => problem === undefined).file;

if (wanted('tests')) {
  const tests = ['operators/*', 'networks/*', 'pipeline/golden', 'pipeline/other-checkpoints', 'models/text-encoder'];
  run(
    'tests on cuda:0',
    join('node_modules', '.bin', 'mocha'),
    tests.map((name) => `test/${name}.test.ts`),
    { SANA_TEST_DEVICE: 'cuda' },
  );
}

if (wanted('kernels') || wanted('sanitizer') || values.only === 'sm_90a') {
  const folder = readdirSync('.').find((name) => /^build-cuda\d+$/.test(name)) ?? 'build-cuda';
  const configured = ['-S', 'cuda', '-B', folder, '-G', 'Ninja', '-DSANA_CUDA_KERNELS=ON'];
  const built =
    run('configure test/kernels', 'cmake', configured) && run('build test/kernels', 'cmake', ['--build', folder]);
  const kernels = join(folder, 'kernels');
  const capability = Number(/^sm_(\d+)/.exec(gpu.path)?.[1]);
  const cases = ['awkward', ...(capability >= 89 ? ['f8'] : [])].map((name) => `test/kernels/${name}.txt`);
  const test = ['test', '--library', library, ...cases];
  if (built && wanted('kernels')) run('kernels against the CPU', kernels, test);
  if (built && values.only === 'sm_90a') {
    for (const tile of ['128x144', '256x144']) {
      const path = `sm_90a-wgmma:${tile}`;
      run(`kernels of sm_90a, ${tile}`, kernels, [
        ...test,
        '--only',
        'linear,conv2d,upsampleConv2d',
        '--variant',
        path,
      ]);
    }
  }
  const sanitizer = ['/usr/local/cuda/bin/compute-sanitizer', '/usr/bin/compute-sanitizer'].find(existsSync);
  if (built && wanted('sanitizer')) {
    if (sanitizer === undefined) console.log('\n== compute-sanitizer is not installed: skipped');
    for (const tool of sanitizer === undefined ? [] : ['memcheck', 'racecheck', 'initcheck', 'synccheck']) {
      const args = ['--tool', tool, '--error-exitcode', '1', kernels, ...test, '--flops', '1e6'];
      run(`compute-sanitizer ${tool}`, sanitizer, args);
    }
  }
}

console.log(failures.length === 0 ? '\nall passed' : `\nfailed: ${failures.join(', ')}`);
process.exit(failures.length === 0 ? 0 : 1);
