import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeLatents } from '../../lib/index.ts';
import { CheckpointCopy, elementsOf, weightFiles } from '../support/checkpoints.ts';
import { type CliResult, sanaNative } from '../support/cli.ts';
import { tinyModel } from '../support/pipelines.ts';

const small = ['-W', '96', '-H', '64', '--no-use-resolution-binning', '--steps', '1', '--dtype', 'float32'];
const folder = mkdtempSync(join(tmpdir(), 'sana-failures-'));
const output = join(folder, 'made', 'fox.png');
const drawing = (model: string, ...more: string[]) => [
  'generate',
  'x',
  '--model',
  model,
  ...small,
  '-o',
  output,
  ...more,
];

describe('sana-native fails after it has started', function () {
  this.timeout(120_000);
  const copies: CheckpointCopy[] = [];
  after(() => {
    for (const copy of copies) copy[Symbol.dispose]();
    rmSync(folder, { recursive: true });
  });

  const copyOf = (...overlays: string[]) => {
    const copy = new CheckpointCopy(...overlays);
    copies.push(copy);
    return copy;
  };

  it('with the exit code of the error and a one-line message, and leaves no files behind', async () => {
    const poisoned = copyOf();
    await poisoned.changeTensors(weightFiles.vae, (tensors) => {
      elementsOf(tensors, 'decoder.conv_out.bias')[1] = Number.NaN;
    });
    const cut = copyOf();
    cut.truncate(weightFiles.transformer, 100_000);
    const overflowing = copyOf();
    await overflowing.changeTensors(weightFiles.vae, (tensors) => {
      elementsOf(tensors, 'decoder.conv_out.weight').fill(3e38);
    });
    const patched = copyOf();
    patched.changeJson('transformer/config.json', (json) => {
      json.patch_size = 2;
    });
    const latents = join(folder, 'nan.safetensors');
    const values = new Float32Array(32 * 6).fill(Number.NaN);
    await writeLatents(latents, { data: values, shape: [1, 32, 2, 3] });

    const cases: [string[], number, RegExp][] = [
      [drawing(poisoned.path), 5, /decoder\.conv_out\.bias holds 1 NaN/],
      [drawing(cut.path), 5, /00002-of-00003\.safetensors/],
      [drawing(patched.path), 5, /patch_size 2/],
      [drawing(tinyModel, '--max-timesteps', '1'), 2, /only Sprint models support it/],
      [drawing(tinyModel, '--latents', latents), 2, /latents\.data\[0\]/],
      [drawing(tinyModel, '--scheduler', 'scm'), 2, /`scheduler`/],
      [drawing(overflowing.path), 1, /The autoencoder made \d+ NaN/],
    ];
    if (existsSync('/proc/self')) cases.push([[...drawing(tinyModel), '-o', '/proc/sana/fox.png'], 1, /Cannot write/]);
    const there = readdirSync(folder);
    const results: CliResult[] = [];
    const waiting = cases.entries();
    const work = async () => {
      for (const [i, [args]] of waiting) results[i] = await sanaNative(args);
    };
    await Promise.all([work(), work()]);
    for (const [i, [args, code, message]] of cases.entries()) {
      const result = results[i];
      assert.match(result?.stderr ?? '', message, args.join(' '));
      assert.equal(result?.code, code, result?.stderr);
      assert.equal(result?.stdout.length, 0);
      assert.doesNotMatch(result?.stderr ?? '', /\n\s+at /); // no stack: it was foreseen
    }
    assert.deepEqual(readdirSync(folder), there);
  });

  it('with 4 when memory runs out', function () {
    if (process.platform !== 'linux' || spawnSync('prlimit', ['--version']).status !== 0) {
      console.log('      skipped: there is no prlimit here');
      this.skip();
    }
    const large = drawing(tinyModel, '-W', '4096', '-H', '4096'); // decoding needs 0.7 GB, in bands
    const command = ['--data=700000000', process.execPath, '--import', 'tsx', 'lib/cli/main.ts', ...large];
    const { status, stderr } = spawnSync('prlimit', command, { encoding: 'utf8' });
    assert.match(stderr, /free/);
    assert.equal(status, 4, stderr);
    assert.equal(existsSync(output), false);
  });

  it('with 1, and a reason, when standard output is full', function () {
    if (!existsSync('/dev/full')) this.skip();
    const full = openSync('/dev/full', 'w');
    try {
      const command = ['--import', 'tsx', 'lib/cli/main.ts', 'explain', '--model', tinyModel, ...small];
      const { status, stderr } = spawnSync(process.execPath, command, {
        stdio: ['ignore', full, 'pipe'],
        encoding: 'utf8',
      });
      assert.match(stderr, /Cannot write to standard output: .*ENOSPC/);
      assert.equal(status, 1);
    } finally {
      closeSync(full);
    }
  });

  it('not at all with latents for a folder that is yet to be made, nor with a prompt of 100 kB', async () => {
    const to = join(folder, 'new', 'folder', 'l.safetensors');
    const args = ['generate', '-', '--model', tinyModel, ...small, '--output-type', 'latent', '-o', to];
    const { code, stderr } = await sanaNative(args, 'a red fox '.repeat(10_000));
    assert.equal(code, 0, stderr);
    assert.ok(existsSync(to));
  });
});
