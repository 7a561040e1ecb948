/** The package as a release would be, and what installs and runs it: as on a machine that has Node and nothing else. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'sana-package-'));
// After the last of several test files, in a separate process, because mocha's workers have one second to end.
process.once('exit', () => spawn('rm', ['-rf', folder], { detached: true, stdio: 'ignore' }).unref());

/** A new folder, which goes away after the last test. */
export function freshFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

// --- Running ---------------------------------------------------------------------------------------------------------

export interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

// Of npm's own variables, which tell what the tests were started by, those stay that say where the registry is.
const FOREIGN =
  /^(NODE_OPTIONS|NODE_PATH|LD_PRELOAD|SANA_\w+|INIT_CWD|npm_(?!config_(registry|cache|\w+config|\w*proxy|cafile|strict_ssl)$)\w+)$/i;
const tools = freshFolder('tools');
symlinkSync(process.execPath, join(tools, 'node'));
symlinkSync('/bin/sh', join(tools, 'sh'));

/** On PATH are Node and a shell, no compiler, CMake or Python. What package managers keep goes to a folder of the tests. */
const bareEnvironment: NodeJS.ProcessEnv = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !FOREIGN.test(name))),
  PATH: tools,
  ...Object.fromEntries(['CACHE', 'DATA', 'STATE'].map((kind) => [`XDG_${kind}_HOME`, join(folder, 'home')])),
  npm_config_fetch_retry_mintimeout: '500', // who is offline waits less
  npm_config_fetch_retry_maxtimeout: '1000',
};

/** The same with the compilers of this machine, and with their cache. */
export const environmentWithTools: NodeJS.ProcessEnv = {
  ...bareEnvironment,
  PATH: process.env.PATH,
  CCACHE_DIR: process.env.CCACHE_DIR ?? join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'ccache'),
};

/** Runs a program to its end, from `cwd`. */
export async function run(
  cwd: string,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = bareEnvironment,
): Promise<Result> {
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const printed = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      printed[stream] += text;
    });
  }
  const code = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done));
  return { code, ...printed };
}

/** Runs what must succeed. */
export async function succeed(...call: Parameters<typeof run>): Promise<Result> {
  return mustHaveSucceeded(call, await run(...call));
}

const UNREACHABLE = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|META_FETCH_FAIL/;

/** Runs what needs the registry. Where that cannot be reached, the tests of `context` are skipped, with the reason. */
export async function fetching(context: Mocha.Context, ...call: Parameters<typeof run>): Promise<Result> {
  const result = await run(...call);
  const [unreachable] = UNREACHABLE.exec(result.stdout + result.stderr) ?? [];
  if (result.code !== 0 && unreachable !== undefined) {
    console.log(`    skipped: the registry cannot be reached: ${unreachable}`);
    context.skip();
  }
  return mustHaveSucceeded(call, result);
}

function mustHaveSucceeded([, command, args]: Parameters<typeof run>, result: Result): Result {
  const { code, stdout, stderr } = result;
  assert.equal(code, 0, `${basename(command)} ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  return result;
}

/** The file of npm's, or npx's, own program: the one on PATH. */
export function npmProgram(name: 'npm' | 'npx' = 'npm'): string {
  const found = (process.env.PATH ?? '').split(delimiter).map((path) => join(path, 'npm'));
  const npm = found.find(existsSync) ?? assert.fail('npm is not on PATH');
  return join(dirname(realpathSync(npm)), `${name}-cli.js`);
}

// --- The package -----------------------------------------------------------------------------------------------------

export interface Packed {
  readonly tarball: string;
  readonly files: readonly { readonly path: string; readonly size: number }[];
}

let packed: Promise<Packed> | undefined;

/** Packs what a release would contain, once. If there are no prebuilt binaries, the local build takes their place. */
export function pack(): Promise<Packed> {
  packed ??= makePackage();
  return packed;
}

async function makePackage(): Promise<Packed> {
  assert.ok(existsSync(join(root, 'dist/index.js')), 'dist/ is missing: run `npm run build:ts`');
  const stage = freshFolder('stage');
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] };
  for (const name of ['package.json', 'README.md', 'LICENSE', ...files.filter((name) => !name.startsWith('!'))]) {
    if (existsSync(join(root, name))) cpSync(join(root, name), join(stage, name), { recursive: true });
  }
  if (!existsSync(join(stage, 'prebuilds'))) {
    const prebuilt = join(stage, 'prebuilds', `${process.platform}-${process.arch}`);
    mkdirSync(prebuilt, { recursive: true });
    copyFileSync(join(root, 'build/Release/sana_native.node'), join(prebuilt, 'sana-native.node'));
  }
  const args = [npmProgram(), 'pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const { stdout } = await succeed(stage, process.execPath, args);
  rmSync(stage, { recursive: true });
  const [{ filename, files: contents }] = JSON.parse(stdout);
  return { tarball: join(folder, filename), files: contents };
}

/** A project without dependencies yet, and with the programs of programs/. */
export function project(name: string): string {
  const path = freshFolder(name);
  writeFileSync(join(path, 'package.json'), JSON.stringify({ name: 'project', version: '1.0.0', private: true }));
  cpSync(join(root, 'test/package/programs'), path, { recursive: true });
  return path;
}
