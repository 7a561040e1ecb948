/**
 * Makes the binaries of a release for this platform, `prebuilds/<platform>-<arch>/`: the addon, and a CUDA library for
 * every nvcc that is named, by each CUDA version's own toolkit. Checks what they ask of the system and their sizes.
 *
 *     npm run prebuilds -- [--nvcc /usr/local/cuda/bin/nvcc]... [--architectures "80-real;90a-real"]
 *
 * prebuildify knows node-gyp only, but calls whatever it is told to with node-gyp's arguments, and takes the addon and
 * the libraries that it finds in build/Release: that is prebuild/compile.ts, in a folder of its own, so that a local
 * build stays as it is.
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
