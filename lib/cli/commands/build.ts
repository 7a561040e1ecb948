/**
 * `sana-native build`: compiles the binaries from the sources in the package, for systems that no prebuilt one fits.
 */

import { Command, InvalidArgumentError } from 'commander';
import { buildFromSource } from '../../device/addon/source-build.ts';
import { listDevices } from '../../index.ts';
import { interruptible } from '../interrupt.ts';
import { printJson, printLines } from '../output.ts';

interface Flags {
  readonly cuda: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Needs CMake 3.24 and a C++20 compiler; for a GPU the CUDA toolkit, 12.4 or later. What is built here is used from then
on, before what is prebuilt. It is gone when the package is installed again.

Examples:
  npx sana-native build
  npx sana-native build --cuda /usr/local/cuda-12.8/bin/nvcc`;

export function buildCommand(): Command {
  return new Command('build')
    .description('build the binaries from source, for systems without prebuilt ones')
    .option('--cuda <which>', "'auto', 'off', '13', '12', or the path of an nvcc", cuda, 'auto')
    .option('--json', 'print one JSON object on standard output')
    .addHelpText('after', EXAMPLES)
    .action(build);
}

function cuda(text: string): string {
  if (/^(auto|off|1[23])$/.test(text) || text.includes('/')) return text;
  throw new InvalidArgumentError("Expected 'auto', 'off', '13', '12', or the path of an nvcc.");
}

async function build(flags: Flags): Promise<void> {
  const result = await interruptible((signal) =>
    buildFromSource({ cuda: flags.cuda, onOutput: (text) => void process.stderr.write(text), signal }),
  );
  const devices = listDevices();
  if (flags.json === true) return await printJson({ ...result, devices });
  await printLines([
    ...result.files.map((file) => `built ${file}`),
    `CUDA: ${result.cuda}`,
    ...devices.map(({ id, name, path, problem }) => `${id}: ${problem ?? `${name}, ${path}`}`),
  ]);
}
