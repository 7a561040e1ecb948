// Builds the CUDA backend with every nvcc named (default: CUDACXX, otherwise /usr/local/cuda/bin/nvcc) and puts the
// libraries next to the addon, build/Release/libsana_cuda<major>.so:
//
//   npm run build:cuda -- [--architectures "80-real;90a-real" | native] [--into FOLDER] [nvcc ...]
//
// Without --architectures: all that the toolkit supports, which takes some minutes on a few cores.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { architectures: { type: 'string', default: '' }, into: { type: 'string', default: 'build/Release' } },
});
const compilers = positionals.length > 0 ? positionals : [process.env.CUDACXX ?? '/usr/local/cuda/bin/nvcc'];
const release = values.into;

const run = (command, args) => {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (status === 0) return;
  console.error(`${command} failed${error ? `: ${error.message}` : ''}`);
  process.exit(1);
};

for (const nvcc of compilers) {
  if (!existsSync(nvcc)) {
    console.error(`There is no nvcc at ${nvcc}: install a CUDA toolkit (12.4 or later), or pass the path of its nvcc.`);
    process.exit(1);
  }
  const major = /release (\d+)/.exec(execFileSync(nvcc, ['--version'], { encoding: 'utf8' }))?.[1];
  const folder = `build-cuda${major}`;
  const options = [`-DCMAKE_CUDA_COMPILER=${nvcc}`, `-DSANA_CUDA_ARCHITECTURES=${values.architectures}`];
  run('cmake', ['-S', 'cuda', '-B', folder, '-G', 'Ninja', ...options]);
  run('cmake', ['--build', folder]);
  mkdirSync(release, { recursive: true });
  for (const file of readdirSync(folder).filter((name) => /^libsana_cuda\d+\.so$/.test(name))) {
    copyFileSync(join(folder, file), join(release, file));
    console.log(join(release, file));
  }
}
