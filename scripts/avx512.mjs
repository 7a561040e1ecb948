// Builds the addon with the AVX-512 kernels compiled against SIMDe's portable implementations (test/avx512/) into
// build-avx512/, where every machine can run them, slowly, and runs the operators' tests on it, or those named as
// arguments.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

if (!['/usr/include', '/usr/local/include'].some((folder) => existsSync(join(folder, 'simde/x86/avx512.h')))) {
  console.log('skipped: the emulated AVX-512 kernels need SIMDe (Debian: apt install libsimde-dev)');
  process.exit(0);
}
const build = ['cmake-js', 'build', '--out', 'build-avx512', '--CDSANA_EMULATE_AVX512=ON'];
if (spawnSync('npx', build, { stdio: 'inherit' }).status !== 0) process.exit(1);

const given = process.argv.slice(2);
const usual = ['linear', 'convolutions', 'attention', 'packing'].map((name) => `test/operators/${name}.test.ts`);
const tests = given.some((argument) => /\.ts$/.test(argument)) ? given : [...usual, ...given];
const { status, signal } = spawnSync(join('node_modules', '.bin', 'mocha'), ['--timeout', '900000', ...tests], {
  stdio: 'inherit',
  env: { ...process.env, SANA_NATIVE_ADDON: resolve('build-avx512/Release/sana_native.node') },
});
if (signal) console.error(`ended by ${signal}`);
process.exit(status ?? 1);
