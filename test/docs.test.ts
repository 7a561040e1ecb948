import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';

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

  it('docs/controlnet.md: draws by an edge map', async () => {
    const [, example = assert.fail()] =
      /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, 'docs/controlnet.md'), 'utf8')) ?? [];
    const call = "'./Sana_600M_1024px_ControlNet_diffusers', { variant: 'fp16' }";
    assert(example.includes(call));
    await sharp({ create: { width: 64, height: 48, channels: 3, background: '#000' } }).toFile(
      join(folder, 'edges.png'),
    );
    const controlnet = join(root, 'test/fixtures/sana-controlnet');
    run(example.replace(call, `${JSON.stringify(model)}, { controlnet: ${JSON.stringify(controlnet)} }`));
    const { width, height } = await sharp(join(folder, 'cat.png')).metadata();
    assert.deepEqual([width, height], [1024, 1024]);
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
});
