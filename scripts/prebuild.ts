/**
 * Makes the binaries of a release for this platform, `prebuilds/<platform>-<arch>/`: the addon, and a CUDA library for
 * every nvcc that is named, one per CUDA version. Checks their requirements of the system and their sizes.
 *
 *     npm run prebuilds -- [--nvcc /usr/local/cuda/bin/nvcc]... [--architectures "80-real;90a-real"]
 *
 * prebuildify supports only node-gyp, but it can call another program with node-gyp's arguments and then takes the
 * addon and the libraries in build/Release. That program is prebuild/compile.ts, in a separate folder, so that a local
 * build is not changed.
 */

import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../lib/base/package.ts';
import { prebuiltFolder } from '../lib/device/addon/candidates.ts';
import { describeBinary, inspectBinary, problemsOf } from './prebuild/binary.ts';

type Prebuildify = (options: object, done: (error?: Error) => void) => void;
const prebuildify = createRequire(import.meta.url)('prebuildify') as Prebuildify;

const { values } = parseArgs({
  options: { nvcc: { type: 'string', multiple: true, default: [] }, architectures: { type: 'string', default: '' } },
});
const stage = join(packageRoot, 'build-prebuild');
rmSync(join(stage, 'build', 'Release'), { recursive: true, force: true });
rmSync(prebuiltFolder, { recursive: true, force: true });
mkdirSync(stage, { recursive: true });
process.env.SANA_PREBUILD_NVCC = values.nvcc.join(':');
process.env.SANA_PREBUILD_ARCHITECTURES = values.architectures;

await new Promise<void>((resolve, reject) => {
  const options = {
    cwd: stage,
    out: packageRoot,
    name: 'sana-native',
    napi: true,
    strip: true,
    targets: [process.versions.node],
    nodeGyp: `"${process.execPath}" --import tsx "${join(import.meta.dirname, 'prebuild', 'compile.ts')}"`,
    shell: true,
  };
  prebuildify(options, (error) => (error ? reject(error) : resolve()));
});

const binaries = readdirSync(prebuiltFolder).map((name) => inspectBinary(join(prebuiltFolder, name)));
for (const binary of binaries) console.log(describeBinary(binary));
const problems = binaries.flatMap(problemsOf);
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exit(1);
console.log(`made ${relative('.', prebuiltFolder)}`);
