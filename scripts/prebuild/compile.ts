/** prebuildify calls this instead of node-gyp, in the folder whose build/Release it then packs: see prebuild.ts. */

import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from '../../lib/base/package.ts';

const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
const out = join(process.cwd(), 'build');
const run = (...command: string[]) => execFileSync(process.execPath, command, { cwd: packageRoot, stdio: 'inherit' });

run(cmakeJs, 'build', '--out', out);
const compilers = (process.env.SANA_PREBUILD_NVCC ?? '').split(':').filter(Boolean);
if (compilers.length > 0) {
  const architectures = process.env.SANA_PREBUILD_ARCHITECTURES ?? '';
  const options = ['--into', join(out, 'Release'), '--architectures', architectures];
  run(join('scripts', 'build-cuda.mjs'), ...options, ...compilers);
}
