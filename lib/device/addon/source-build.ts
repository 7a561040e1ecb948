/**
 * Builds the addon and, if requested, the CUDA library from the sources in the package. CMake and a C++20 compiler are
 * enough for the addon. The result is in build/Release and takes precedence over the prebuilt binaries.
 */

import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { environmentVariable } from '../../base/environment.ts';
import { SanaError } from '../../base/errors.ts';
import { packageRoot } from '../../base/package.ts';
import { builtFolder } from './candidates.ts';
import { findDriver } from './driver.ts';

export interface BuildOptions {
  /** `off`, the path of an nvcc, a major version to look for, or `auto`: the first nvcc found, if there is a driver. */
  readonly cuda: string;
  /** Receives the compilers' output as it is produced. */
  readonly onOutput: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface BuildResult {
  readonly files: readonly string[];
  /** The CUDA compiler that was used, or why none was used. */
  readonly cuda: string;
}

const MINIMUM_CMAKE = [3, 24] as const;
const TOOLS =
  'Debian and Ubuntu: `apt install cmake g++ make`; Fedora and RHEL: `dnf install cmake gcc-c++ make`. ' +
  'A newer CMake: `pip install cmake`.';

/** @throws SanaError ERR_SANA_ADDON for a missing tool or a step that fails. */
export async function buildFromSource(options: BuildOptions): Promise<BuildResult> {
  if (process.platform !== 'linux') {
    throw new SanaError('ERR_SANA_ADDON', `The sources do not build on ${process.platform} yet, only on Linux`, {
      hint: 'On Windows use WSL 2.',
    });
  }
  demandCMake();
  demandCompiler();
  const nvcc = findNvcc(options.cuda);
  const headers = [nodeHeaders(), dirname(createRequire(import.meta.url).resolve('node-addon-api'))];
  demandWritable();

  const build = join(packageRoot, 'build');
  const generator = isThere('ninja') ? ['-G', 'Ninja'] : [];
  const compile = async (source: string, folder: string, ...definitions: string[]) => {
    const given = ['-DCMAKE_BUILD_TYPE=Release', ...definitions];
    await run(['-S', source, '-B', folder, ...generator, ...given], options);
    await run(['--build', folder, '--parallel', String(cpus().length)], options);
  };
  // Not the folder that cmake-js uses: its cache may be of another generator. As deep as that one, so that a compiler
  // cache, which sees relative paths, serves both.
  const addon = join(packageRoot, 'build-addon');
  await compile(
    packageRoot,
    addon,
    `-DCMAKE_JS_INC=${headers.join(';')}`,
    `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${builtFolder}`,
  );
  if (nvcc.path !== undefined) {
    const folder = join(build, 'cuda');
    // For the cards of this machine; if there is none, for every supported card, which takes minutes.
    const architectures = (findDriver()?.cards.length ?? 0) > 0 ? 'native' : '';
    await compile(
      join(packageRoot, 'cuda'),
      folder,
      `-DCMAKE_CUDA_COMPILER=${nvcc.path}`,
      `-DSANA_CUDA_ARCHITECTURES=${architectures}`,
    );
    for (const name of readdirSync(folder).filter((file) => /^libsana_cuda\d+\.so$/.test(file))) {
      rmSync(join(builtFolder, name), { force: true }); // a process that has the old file open keeps it
      copyFileSync(join(folder, name), join(builtFolder, name));
    }
  }
  const files = readdirSync(builtFolder).filter((name) => /^sana_native\.node$|^libsana_cuda\d+\.so$/.test(name));
  return { files: files.map((name) => join(builtFolder, name)), cuda: nvcc.path ?? nvcc.why };
}

function demandCMake(): void {
  const { stdout, error } = spawnSync('cmake', ['--version'], { encoding: 'utf8' });
  const found = /version (\d+)\.(\d+)/.exec(stdout ?? '');
  const [major, minor] = MINIMUM_CMAKE;
  if (error !== undefined || found === null) {
    throw new SanaError('ERR_SANA_ADDON', 'Building needs CMake, and there is no `cmake` on the path', { hint: TOOLS });
  }
  if (Number(found[1]) > major || (Number(found[1]) === major && Number(found[2]) >= minor)) return;
  throw new SanaError('ERR_SANA_ADDON', `Building needs CMake ${major}.${minor}, found ${found[1]}.${found[2]}`, {
    hint: TOOLS,
  });
}

function demandCompiler(): void {
  const compiler = environmentVariable('CXX');
  const names = compiler === undefined ? ['c++', 'g++', 'clang++'] : [compiler];
  if (names.some(isThere)) return;
  throw new SanaError(
    'ERR_SANA_ADDON',
    `Building needs a C++20 compiler: there is no ${names.join(', ')} on the path`,
    {
      hint: TOOLS,
    },
  );
}

/** The headers of the running Node, or those of the package node-api-headers. */
function nodeHeaders(): string {
  const own = join(dirname(dirname(process.execPath)), 'include', 'node');
  if (existsSync(join(own, 'node_api.h'))) return own;
  try {
    return join(dirname(createRequire(import.meta.url).resolve('node-api-headers/package.json')), 'include');
  } catch (cause) {
    throw new SanaError('ERR_SANA_ADDON', `Building needs Node's headers, and there is no node_api.h in ${own}`, {
      hint: 'Run `npm install node-api-headers` in your project, and try again.',
      cause,
    });
  }
}

function findNvcc(wanted: string): { readonly path?: string; readonly why: string } {
  if (wanted === 'off') return { why: 'disabled' };
  if (wanted.includes('/')) {
    if (versionOf(wanted) !== undefined) return { path: wanted, why: '' };
    throw new SanaError('ERR_SANA_ADDON', `${wanted} is not a working nvcc`, {
      hint: 'Pass the path of the nvcc of a CUDA toolkit.',
    });
  }
  const homes = [
    environmentVariable('CUDA_HOME'),
    environmentVariable('CUDA_PATH'),
    '/usr/local/cuda',
    '/usr/local/cuda-13',
    '/usr/local/cuda-12',
  ];
  const places = [
    environmentVariable('CUDACXX'),
    ...(environmentVariable('PATH') ?? '').split(delimiter).map((folder) => join(folder, 'nvcc')),
    ...homes.map((home) => home && join(home, 'bin', 'nvcc')),
  ].filter((place): place is string => place !== undefined && isAbsolute(place) && existsSync(place));
  const found = [...new Set(places)].filter((place) => {
    const major = versionOf(place);
    return major !== undefined && (wanted === 'auto' || major === wanted);
  });
  if (wanted === 'auto' && findDriver() === undefined)
    return { why: 'there is no NVIDIA driver; use --cuda 13 to build it anyway' };
  if (found[0] !== undefined) return { path: found[0], why: '' };
  if (wanted === 'auto') return { why: 'there is no nvcc' };
  throw new SanaError('ERR_SANA_ADDON', `There is no nvcc of CUDA ${wanted} on the path or in /usr/local`, {
    hint: 'Install the CUDA toolkit (12.4 or later), pass the path of its nvcc (--cuda PATH), or build without CUDA (--cuda off).',
  });
}

/** The major version of an nvcc, or undefined if it does not run. */
function versionOf(nvcc: string): string | undefined {
  const { stdout } = spawnSync(nvcc, ['--version'], { encoding: 'utf8' });
  return /release (\d+)/.exec(stdout ?? '')?.[1];
}

function isThere(name: string): boolean {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined;
}

function demandWritable(): void {
  try {
    mkdirSync(builtFolder, { recursive: true });
    accessSync(builtFolder, constants.W_OK);
  } catch (cause) {
    throw new SanaError('ERR_SANA_FILE', `Cannot write to ${builtFolder}, where the build goes`, {
      hint: 'Build as the user who installed the package, or install it in a folder that you can write to.',
      cause,
    });
  }
}

async function run(args: readonly string[], { onOutput, signal }: BuildOptions): Promise<void> {
  const child = spawn('cmake', args, { stdio: ['ignore', 'pipe', 'pipe'], signal });
  let tail = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      onOutput(text);
      tail = (tail + text).slice(-4000);
    });
  }
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
  if (status === 0) return;
  const first = /^.*\b(?:fatal )?error\b.*$/im.exec(tail)?.[0].trim();
  throw new SanaError('ERR_SANA_ADDON', `cmake ${args[0]} failed${first === undefined ? '' : `: ${first}`}`, {
    hint: 'See its output above. It needs a C++20 compiler, GCC 12 or Clang 16 or later; set CXX to use another one.',
  });
}
