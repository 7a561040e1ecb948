import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { openCheckpoint } from '../lib/runtime/checkpoint.ts';
import { readTensors, writeSafetensors } from '../lib/runtime/tensor-file.ts';
import { FakeHub } from './support/fake-hub.ts';
import { openFile } from './support/files.ts';
import { officialAutoencoder, officialTransformer, type Values } from './support/official-names.ts';
import { torchFile } from './support/torch-writer.ts';

const root = join(import.meta.dirname, '..');
const model = join(root, 'test/fixtures/sana-base');

describe('the examples of the documentation', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'sana-docs-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  /** Runs an example as a user's program would run, with the package's sources in the place of the package. */
  function run(example: string): string {
    const file = join(folder, 'example.mts');
    const source = example
      .replaceAll(/'sana-native\/ops'/g, JSON.stringify(join(root, 'lib/graph/index.ts')))
      .replaceAll(/'sana-native'/g, JSON.stringify(join(root, 'lib/index.ts')));
    writeFileSync(file, source);
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    return execFileSync(process.execPath, ['--import', tsx, file], { cwd: folder, encoding: 'utf8' });
  }

  it('README: loads a checkpoint, draws, saves', () => {
    const [, example = assert.fail()] =
      /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
    const call = "'./Sana_600M_512px_diffusers', { variant: 'fp16' }";
    assert(example.includes(call));
    run(example.replace(call, JSON.stringify(model)));
    assert(existsSync(join(folder, 'fox.png')));
  });

  it('sana-native/ops: records a graph and runs it', () => {
    const comment = readFileSync(join(root, 'lib/graph/index.ts'), 'utf8').split('@example')[1]?.split('*/')[0];
    const example = comment?.replaceAll(/^ \* ?/gm, '') ?? assert.fail();
    const imports = "import { Arena, Block, Graph, openDevice, Program, read, write } from 'sana-native/ops';\n";
    const printed = run(
      `${imports}${example
        .replace(/^(new Float32Array\(await read)/m, 'console.log($1')
        .trim()
        .replace(/;$/, ');')}`,
    );
    assert.match(printed, /0\.731058/); // silu(1)
  });

  it('docs/convert.md: converts a transformer, a larger one and an autoencoder, and draws', async () => {
    const weights = async (...path: string[]) =>
      (await readTensors(join(root, 'test/fixtures', ...path), openFile)) as Map<string, Values>;
    const transformer = new Map<string, Values>();
    for (const i of [1, 2, 3]) {
      const shard = `diffusion_pytorch_model-0000${i}-of-00003.safetensors`;
      for (const [name, value] of await weights('sana-base/transformer', shard)) transformer.set(name, value);
    }
    const large = officialTransformer(await weights('sana-4k/transformer/diffusion_pytorch_model.safetensors'));
    const autoencoder = officialAutoencoder(await weights('sana-base/vae/diffusion_pytorch_model.safetensors'));
    writeFileSync(join(folder, 'Sana_1600M_1024px.pth'), torchFile(officialTransformer(transformer)));
    writeFileSync(join(folder, 'Sana_1600M_4Kpx_BF16.pth'), torchFile(large, { key: 'state_dict' }));
    await writeSafetensors(join(folder, 'dc-ae-f32c32-sana-1.1.safetensors'), autoencoder);
    symlinkSync(model, join(folder, 'Sana_600M_512px_diffusers'));

    const text = readFileSync(join(root, 'docs/convert.md'), 'utf8');
    const lines = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = '']) => block.trim().split('\n'));
    assert.equal(lines.length, 4);
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    for (const line of lines) {
      const [command, ...args] = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(
        ([, quoted, plain]) => quoted ?? plain ?? '',
      );
      assert.equal(command, 'sana-native');
      // The tiny model's width was not released.
      if (line.includes('Sana_1600M') && args[0] === 'convert') args.push('--cross-attention-heads', '4');
      if (args[0] === 'generate') args.push('--steps', '1', '-W', '96', '-H', '64', '--no-use-resolution-binning');
      execFileSync(process.execPath, ['--import', tsx, join(root, 'lib/cli/main.ts'), ...args], { cwd: folder });
    }
    const checkpoint = await openCheckpoint(join(folder, 'Sana_1600M_1024px'), { openFile });
    assert.equal(checkpoint.transformer.config.sampleSize, 32);
    checkpoint.close();
    assert(existsSync(join(folder, 'transformer', 'config.json')) && existsSync(join(folder, 'vae', 'config.json')));
    assert(existsSync(join(folder, 'fox.png')));
  });

  it('docs/models-and-cache.md: downloads a repository from the program and the command line, then draws offline', async () => {
    const text = readFileSync(join(root, 'docs/models-and-cache.md'), 'utf8');
    const [, example = assert.fail()] = /```ts\n([\s\S]*?)```/.exec(text) ?? [];
    const [, commands = assert.fail()] = /```sh\n([\s\S]*?)```/.exec(text) ?? [];
    const hub = await FakeHub.start();
    try {
      hub.addFolder('Efficient-Large-Model/Sana_600M_512px_diffusers', model);
      const env = { ...process.env, ...hub.env(join(folder, 'home')), HF_HUB_CACHE: '', HF_HUB_OFFLINE: '' };
      const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
      const node = async (...args: string[]) =>
        (await promisify(execFile)(process.execPath, ['--import', tsx, ...args], { cwd: folder, env })).stdout;
      writeFileSync(
        join(folder, 'download.mts'),
        example.replace("'sana-native'", JSON.stringify(join(root, 'lib/index.ts'))),
      );
      assert.match(await node('download.mts'), /^download \d+ of \d+ /m);
      const downloaded = hub.downloads().length;
      assert.ok(downloaded >= 12);
      for (const line of commands.trim().split('\n')) {
        const [, ...args] = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
        if (args[0] === 'generate') args.push('--steps', '1', '-W', '96', '-H', '64', '--no-use-resolution-binning');
        await node(join(root, 'lib/cli/main.ts'), ...args);
      }
      assert.deepEqual(hub.downloads(), []); // all was there
      assert(existsSync(join(folder, 'fox.png')));
    } finally {
      await hub.stop();
    }
  });
});
