// Builds the addon with the address and undefined-behaviour sanitizers into build-sanitize/ and runs the tests that use
// native code most, or those named as arguments, with it.
import { execFileSync, spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const build = ['cmake-js', 'build', '--out', 'build-sanitize', '--CDSANA_SANITIZE=address,undefined'];
const built = spawnSync('npx', build, { stdio: 'inherit' });
if (built.status !== 0) process.exit(1);

// The runtimes must be preloaded, because node itself is built without them.
const runtime = (name) => execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
const native = ['binding', 'operators', 'models'].map((folder) => `test/${folder}/*.test.ts`);
const tests = process.argv.length > 2 ? process.argv.slice(2) : [...native, 'test/pipeline/golden.test.ts'];
const { status, signal } = spawnSync(join('node_modules', '.bin', 'mocha'), tests, {
  stdio: 'inherit',
  env: {
    ...process.env,
    SANA_NATIVE_ADDON: resolve('build-sanitize/Release/sana_native.node'),
    LD_PRELOAD: [runtime('libasan.so'), runtime('libubsan.so')].join(' '),
    // V8 does not free its memory when a process ends, and the leak checker would report megabytes of it.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  },
});
if (signal) console.error(`ended by ${signal}`);
process.exit(status ?? 1);
