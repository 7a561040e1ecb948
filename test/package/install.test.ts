import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import sharp from 'sharp';
import { BUDGET } from './budget.ts';
import {
  environmentWithTools,
  fetching,
  freshFolder,
  npmProgram,
  pack,
  project,
  root,
  run,
  succeed,
} from './support.ts';

const node = process.execPath;
const QUIET = ['--prefer-offline', '--no-audit', '--no-fund'];
// npm 12 asks for Node 22, says so and works with Node 20, which is what has to be known here: it runs no scripts.
const MANAGERS = ['npm@12.2.1', 'pnpm@12.21.0'];

let first: Buffer | undefined;

/** A picture of the built-in model's, and the same one, to the byte, however it was made. */
async function assertDrawn(file: string): Promise<void> {
  const png = readFileSync(file);
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [256, 256, 3]);
  assert.ok(new Set(data).size > 50, 'the picture is empty');
  first ??= png;
  assert.ok(png.equals(first), 'the same seed drew another picture');
}

/** Runs one of programs/, which draws into the file given as argument and prints nothing, not even a warning. */
async function draw(folder: string, program: string): Promise<void> {
  const { stdout, stderr } = await succeed(folder, node, [program, 'fox.png']);
  assert.deepEqual([stdout, stderr], ['', '']);
  await assertDrawn(join(folder, 'fox.png'));
}

describe('the package, installed by npm with scripts blocked', function () {
  this.timeout(300_000);
  let folder = '';
  before(async function () {
    const { tarball } = await pack();
    folder = project('npm');
    await fetching(this, folder, node, [npmProgram(), 'install', '--ignore-scripts', ...QUIET, tarball]);
  });

  it('finds neither a compiler nor CMake nor Python in these tests', async () => {
    const { code, stdout } = await run(folder, 'sh', ['-c', 'command -v cc c++ gcc g++ clang cmake make python3 git']);
    assert.deepEqual([code !== 0, stdout], [true, '']);
    await succeed(folder, 'sh', ['-c', 'command -v node']);
  });

  it('brings few packages with it', () => {
    const lock = JSON.parse(readFileSync(join(folder, 'node_modules/.package-lock.json'), 'utf8'));
    const names = Object.keys(lock.packages);
    assert.ok(names.includes('node_modules/sana-native') && names.length <= BUDGET.installedPackages, names.join(', '));
    const withScripts = names.filter((name) => lock.packages[name].hasInstallScript);
    assert.deepEqual(withScripts, []);
  });

  it('draws from an ES module', () => draw(folder, 'esm.mjs'));

  it('draws from CommonJS', () => draw(folder, 'commonjs.cjs'));

  it('draws in two threads at once', async () => {
    const { stderr } = await succeed(folder, node, ['worker.mjs', 'here.png', 'there.png']);
    assert.equal(stderr, '');
    for (const file of ['here.png', 'there.png']) await assertDrawn(join(folder, file));
  });

  it('runs operators', async () => {
    assert.equal((await succeed(folder, node, ['operators.mjs'])).stdout, 'cpu\n');
  });

  it('draws from the command line', async () => {
    const args = ['--no-install', 'sana-native', 'a red fox', '--seed', '7', '--steps', '2', '-o', 'command.png'];
    await succeed(folder, node, [npmProgram('npx'), ...args]);
    await assertDrawn(join(folder, 'command.png'));
  });

  it('draws from a folder with spaces and letters of other scripts in its name', async () => {
    const moved = join(folder, "l'été à la maison, 狐 & #1 %20");
    mkdirSync(moved);
    for (const name of readdirSync(folder).filter((name) => !moved.endsWith(name))) {
      cpSync(join(folder, name), join(moved, name), { recursive: true, verbatimSymlinks: true });
    }
    await draw(moved, 'esm.mjs');
    const args = ['--no-install', 'sana-native', 'a red fox', '--seed', '7', '--steps', '2', '-o', 'command.png'];
    await succeed(moved, node, [npmProgram('npx'), ...args]);
    await assertDrawn(join(moved, 'command.png'));
  });

  describe('in a bundle of esbuild', () => {
    const bundle = async (entry: string, format: 'esm' | 'cjs', external: string[] = []): Promise<string> => {
      const name = `bundles/${entry.replace(/\..*/, '')}-${external.length}.${format === 'esm' ? 'mjs' : 'cjs'}`;
      const options = { bundle: true, platform: 'node', logLevel: 'silent', absWorkingDir: folder } as const;
      const { warnings } = await build({ ...options, entryPoints: [entry], format, external, outfile: name });
      if (external.length > 0) assert.deepEqual(warnings, []);
      return name;
    };

    it('draws as an external package', async () => {
      await draw(folder, await bundle('esm.mjs', 'esm', ['sana-native']));
      await draw(folder, await bundle('commonjs.cjs', 'cjs', ['sana-native']));
    });

    it('reports what to do if it is part of the bundle', async () => {
      for (const [entry, format] of [
        ['esm.mjs', 'esm'],
        ['commonjs.cjs', 'cjs'],
        ['operators.mjs', 'esm'],
        ['operators.mjs', 'cjs'],
      ] as const) {
        const { code, stderr } = await run(folder, node, [await bundle(entry, format), 'bundled.png']);
        assert.equal(code, 1, entry);
        assert.match(stderr, /ERR_SANA_ADDON/, entry);
        assert.match(stderr, /--external:sana-native/, entry);
      }
    });

    it('gives its samplers to a bundle', async () => {
      for (const format of ['esm', 'cjs'] as const) {
        const { stdout } = await succeed(folder, node, [await bundle('schedulers.mjs', format)]);
        assert.equal(stdout, 'function flow-dpm-solver,flow-euler,scm\n');
      }
    });
  });

  describe('in TypeScript', () => {
    // Every expected error is one: with the types missing, an `any` would pass there.
    const consumer = `
      import { SanaError, type SanaImage, SanaPipeline } from 'sana-native';
      import { Graph } from 'sana-native/ops';
      import { SCHEDULERS } from 'sana-native/schedulers';

      export async function draw(prompt: string): Promise<SanaImage | undefined> {
        await using pipe = await SanaPipeline.fromPretrained('sana-tiny', { threads: 1 });
        const { images } = await pipe.generate({ prompt, seed: 7, onStep: ({ step }) => console.log(step.toFixed()) });
        const png: Buffer | undefined = await images[0]?.toBuffer();
        console.log(png?.length, new Graph('mine'), SCHEDULERS.includes('scm'));
        return images[0];
      }
      draw('a red fox').catch((error) => console.log(error instanceof SanaError && error.code === 'ERR_SANA_MODEL'));

      // @ts-expect-error: a prompt is text
      draw(1);
      // @ts-expect-error: there is no such option
      SanaPipeline.fromPretrained('sana-tiny', { thread: 1 });
      // @ts-expect-error: a graph has a name
      new Graph(1);
      // @ts-expect-error: there is no such sampler
      SCHEDULERS.includes('euler');
    `;
    const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022', '--types', 'node'];
    const check = (file: string, ...options: string[]) => {
      writeFileSync(join(folder, file), consumer);
      return run(folder, node, [join(root, 'node_modules/typescript/bin/tsc'), ...strict, ...options, file]);
    };
    before(() => {
      mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
      symlinkSync(join(root, 'node_modules/@types/node'), join(folder, 'node_modules/@types/node'));
    });

    for (const file of ['consumer.mts', 'consumer.cts']) {
      for (const module of ['nodenext', 'node20']) {
        it(`has types for ${file} with module ${module}`, async () => {
          assert.deepEqual(await check(file, '--module', module), { code: 0, stdout: '', stderr: '' });
        });
      }
    }

    it('has types for bundlers', async () => {
      const options = ['--module', 'esnext', '--moduleResolution', 'bundler'];
      assert.deepEqual(await check('consumer.ts', ...options), { code: 0, stdout: '', stderr: '' });
    });
  });
});

describe('the package, built from its own sources', function () {
  this.timeout(30 * 60_000);

  it('explains how to build if there is no binary, builds, and draws the same', async function () {
    if (!process.env.SANA_TEST_SOURCE_BUILD) {
      console.log('    skipped: it compiles for minutes; SANA_TEST_SOURCE_BUILD=1 runs it, as CI does');
      this.skip();
    }
    const { tarball } = await pack();
    const folder = project('source');
    await fetching(this, folder, node, [npmProgram(), 'install', '--ignore-scripts', ...QUIET, tarball]);
    rmSync(join(folder, 'node_modules/sana-native/prebuilds'), { recursive: true });
    const none = await run(folder, node, ['esm.mjs', 'fox.png']);
    assert.equal(none.code, 1);
    assert.match(none.stderr, /There is no native addon .*npx sana-native build/s);
    const build = [npmProgram('npx'), '--no-install', 'sana-native', 'build', '--cuda', 'off', '--json'];
    const { stdout } = await succeed(folder, node, build, environmentWithTools);
    const { files, devices } = JSON.parse(stdout);
    assert.deepEqual(files, [join(folder, 'node_modules/sana-native/build/Release/sana_native.node')]);
    assert.equal(devices.at(-1).id, 'cpu');
    await draw(folder, 'esm.mjs');
  });
});

describe('the package, installed by managers that block scripts by themselves', function () {
  this.timeout(300_000);
  let managers = '';
  before(async function () {
    managers = freshFolder('managers');
    writeFileSync(join(managers, 'package.json'), '{}');
    await fetching(this, managers, node, [npmProgram(), 'install', '--ignore-scripts', ...QUIET, ...MANAGERS]);
  });

  it('npm 12 has nothing to block, and it draws', async function () {
    const { tarball } = await pack();
    const folder = project('npm-12');
    const npm = join(managers, 'node_modules/npm/bin/npm-cli.js');
    assert.match((await succeed(folder, node, [npm, '--version'])).stdout, /^12\./);
    const { stdout, stderr } = await fetching(this, folder, node, [npm, 'install', ...QUIET, tarball]);
    assert.doesNotMatch(stdout + stderr, /script/i);
    await draw(folder, 'esm.mjs');
    await draw(folder, 'commonjs.cjs');
  });

  it('pnpm has nothing to block, keeps its dependencies apart, and it draws', async function () {
    const { tarball } = await pack();
    const folder = project('pnpm');
    const pnpm = join(managers, 'node_modules/.bin/pnpm');
    const { stdout, stderr } = await fetching(this, folder, pnpm, ['add', tarball]);
    assert.doesNotMatch(stdout + stderr, /script/i);
    assert.deepEqual(
      readdirSync(join(folder, 'node_modules')).filter((name) => !name.startsWith('.')),
      ['sana-native'],
    );
    await draw(folder, 'esm.mjs');
    await draw(folder, 'commonjs.cjs');
    await succeed(folder, pnpm, [
      'exec',
      'sana-native',
      'a red fox',
      '--seed',
      '7',
      '--steps',
      '2',
      '-o',
      'command.png',
    ]);
    await assertDrawn(join(folder, 'command.png'));
  });
});
