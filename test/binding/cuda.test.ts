import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from '../../lib/base/package.ts';
import { cases } from './cuda-cases.ts';

const given = process.env.SANA_NATIVE_CUDA ?? '';
const library = given.includes('libsana_simt') ? given : join(packageRoot, 'build-simt', 'libsana_simt.so');
const anAddon = () =>
  process.env.SANA_NATIVE_ADDON || createRequire(import.meta.url)('node-gyp-build').path(packageRoot);

/** What the library is opened with, where that is not the emulation as it is. */
const environment: Readonly<Record<string, () => Record<string, string>>> = {
  'says that there is no driver, and the CPU works': () => ({ SIMT_DRIVER: 'none' }),
  'says that the driver is too old, and the CPU works': () => ({ SIMT_DRIVER: 'old' }),
  'says that there is no device, and the CPU works': () => ({ SIMT_DEVICES: '0' }),
  'lists a card that is too old with its problem, and refuses it': () => ({ SIMT_CAPABILITY: '75' }),
  'takes the path of sm_90a where it is asked for by name': () => ({
    SIMT_CAPABILITY: '90',
    SANA_NATIVE_CUDA_PATH: 'sm_90a-wgmma',
  }),
  'refuses the path of sm_90a to other cards': () => ({ SANA_NATIVE_CUDA_PATH: 'sm_90a-wgmma' }),
  'refuses fp8 to cards without instructions for it, before any work': () => ({ SIMT_CAPABILITY: '80' }),
  'opens no library with SANA_NATIVE_CUDA=off': () => ({ SANA_NATIVE_CUDA: 'off' }),
  'tries only the major version that SANA_NATIVE_CUDA names': () => ({ SANA_NATIVE_CUDA: '12' }),
  'says that a library is not there': () => ({ SANA_NATIVE_CUDA: join(packageRoot, 'no-such-library.so') }),
  'says that a library is no backend': () => ({ SANA_NATIVE_CUDA: anAddon() }),
};

describe('binding/cuda (emulated)', function () {
  this.timeout(60_000);

  before(function () {
    if (existsSync(library)) return;
    console.log(`    skipped: there is no ${library}; \`npm run test:simt\` builds it`);
    this.skip();
  });

  it('has an environment for cases that are there', () => {
    assert.deepEqual(
      Object.keys(environment).filter((name) => !(name in cases)),
      [],
    );
  });

  for (const name of Object.keys(cases)) {
    it(name, () => {
      const file = join(packageRoot, 'test', 'binding', 'cuda-cases.ts');
      const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', file, name], {
        encoding: 'utf8',
        cwd: packageRoot,
        env: { ...process.env, SANA_NATIVE_CUDA: library, ...environment[name]?.() },
      });
      assert.deepEqual([status, signal], [0, null], `${stdout}${stderr}`);
    });
  }
});
