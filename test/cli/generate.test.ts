import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { readGenerationMetadata } from '../../lib/index.ts';
import { type CliResult, sanaNative } from '../support/cli.ts';

const MODEL = ['--model', 'test/fixtures/sana-base', '--dtype', 'float32'];
const SMALL = [...MODEL, '-W', '96', '-H', '64', '--no-use-resolution-binning', '--steps', '2'];

describe('sana-native generate', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sana-generate-'));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  async function generate(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await sanaNative(['generate', ...args]);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    return stdout.toString();
  }

  it('numbers the images of a call, each of which can be made alone, from its file', async () => {
    const printed = await generate('a red fox', ...SMALL, '--seed', '7', '-n', '2', '-o', at('made/fox.png'));
    assert.equal(printed, `${at('made/fox-0.png')}\n${at('made/fox-1.png')}\n`);
    assert.equal((await readGenerationMetadata(at('made/fox-1.png')))?.seed, '8');
    await generate('--from', at('made/fox-1.png'), ...MODEL, '-o', at('again.png'));
    assert.deepEqual(await readFile(at('again.png')), await readFile(at('made/fox-1.png')));
    assert.notDeepEqual(await readFile(at('made/fox-0.png')), await readFile(at('made/fox-1.png')));
  });

  it('lets flags change what an image was made from', async () => {
    await generate('a red fox', ...SMALL, '--seed', '7', '-o', at('first.png'));
    await generate(
      'a blue fox',
      '--from',
      at('first.png'),
      ...MODEL,
      '--seed',
      '9',
      '--steps',
      '1',
      '-o',
      at('other.png'),
    );
    const made = await readGenerationMetadata(at('other.png'));
    assert.deepEqual([made?.prompt, made?.seed, made?.numInferenceSteps, made?.width], ['a blue fox', '9', 1, 96]);
  });

  it('draws by a custom schedule, which the file repeats', async () => {
    const euler = [...MODEL, '-W', '96', '-H', '64', '--no-use-resolution-binning', '--scheduler', 'flow-euler'];
    await generate('a red fox', ...euler, '--sigmas', '1,0.6,0.2', '--seed', '7', '-o', at('custom.png'));
    const made = await readGenerationMetadata(at('custom.png'));
    assert.deepEqual([made?.sigmas, made?.numInferenceSteps, made?.timesteps], [[1, 0.6, 0.2], 3, undefined]);
    await generate('--from', at('custom.png'), ...MODEL, '-o', at('custom-again.png'));
    assert.deepEqual(await readFile(at('custom-again.png')), await readFile(at('custom.png')));
    // The same levels as times of training draw the same.
    await generate('a red fox', ...euler, '--timesteps', '1000,600,200', '--seed', '7', '-o', at('times.png'));
    const pixels = (path: string) => sharp(path).raw().toBuffer();
    assert.deepEqual(await pixels(at('times.png')), await pixels(at('custom.png')));
  });

  it('reads the prompt from standard input and writes the image to standard output', async () => {
    const { code, stdout, stderr } = await sanaNative(['generate', '-', ...SMALL, '-o', '-'], 'žlutá liška\n');
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.equal((await readGenerationMetadata(stdout))?.prompt, 'žlutá liška');
  });

  it('draws with LoRA adapters, and reports missing ones with --from', async () => {
    const adapters = ['--lora', 'test/fixtures/sana-lora/attn:0.5', '--lora', 'test/fixtures/sana-lora/all'];
    await generate('a red fox', ...SMALL, '--seed', '7', ...adapters, '--lora-scale', '0.5', '-o', at('lora.png'));
    const made = await readGenerationMetadata(at('lora.png'));
    assert.deepEqual(
      made?.loras?.map(({ name, scale }) => [name, scale]),
      [
        ['attn', 0.5],
        ['all', 1],
      ],
    );
    await generate('--from', at('lora.png'), ...MODEL, ...adapters, '-o', at('lora-again.png'));
    assert.deepEqual(await readFile(at('lora-again.png')), await readFile(at('lora.png')));
    const { code, stderr } = await sanaNative([
      'generate',
      '--from',
      at('lora.png'),
      ...MODEL,
      ...adapters.slice(0, 2),
      '-o',
      at('less.png'),
    ]);
    assert.equal(code, 0);
    assert.match(stderr, /^sana-native: the LoRA all \(SHA-256 [0-9a-f]{10}\.\.\.\), scale 1, is missing\n$/);
  });

  it('prints one JSON object with --json', async () => {
    const path = at('fox.webp');
    const report = JSON.parse(
      await generate('a fox', ...SMALL, '--seed', '18446744073709551615', '-o', path, '--json'),
    );
    assert.deepEqual(Object.keys(report), ['images', 'seeds', 'timings', 'memory', 'warnings']);
    assert.deepEqual(report.seeds, ['18446744073709551615']);
    assert.equal(report.images[0].path, path);
    const { source: _, ...made } = (await readGenerationMetadata(path)) ?? {};
    assert.deepEqual(report.images[0].parameters, made);
  });

  it('writes latents, and starts from them', async () => {
    const latents = at('start.safetensors');
    await generate('a fox', ...SMALL, '--output-type', 'latent', '-o', latents);
    await generate('a fox', ...SMALL, '--latents', latents, '--seed', '1', '-o', at('one.png'), '--no-metadata');
    await generate('a fox', ...SMALL, '--latents', latents, '--seed', '2', '-o', at('two.png'), '--no-metadata');
    assert.deepEqual(await readFile(at('one.png')), await readFile(at('two.png')));
  });

  it('draws by a control image, and asks for it when that image is repeated', async () => {
    const edges = at('edges.png');
    await sharp({ create: { width: 50, height: 40, channels: 3, background: '#406080' } }).toFile(edges);
    const controlnet = [...MODEL, '--controlnet', 'test/fixtures/sana-controlnet/controlnet'];
    const steered = ['--control-image', edges, '--controlnet-conditioning-scale', '0.5'];
    await generate('a fox', ...SMALL, ...controlnet, ...steered, '--seed', '7', '-o', at('steered.png'));
    assert.equal((await readGenerationMetadata(at('steered.png')))?.controlnetConditioningScale, 0.5);
    const again = ['--from', at('steered.png'), ...controlnet, '-o', at('steered-again.png')];
    await generate(...again, '--control-image', edges);
    assert.deepEqual(await readFile(at('steered-again.png')), await readFile(at('steered.png')));
    const without = await sanaNative(['generate', ...again]);
    assert.match(without.stderr, /another picture \(--control-image\).*--control-image FILE/s);
    assert.equal(without.code, 2);
  });

  it('exits with 2 for what the model does not support, with 3 for a missing device, and writes nothing', async () => {
    const there = await readdir(folder);
    const odd = await sanaNative([
      'generate',
      'x',
      ...MODEL,
      '-W',
      '100',
      '--no-use-resolution-binning',
      '-o',
      at('x.png'),
    ]);
    assert.match(odd.stderr, /`width` to be a multiple of 32/);
    assert.equal(odd.code, 2);
    const device = await sanaNative(['generate', 'x', ...MODEL, '--device', 'cuda:99', '-o', at('x.png')]);
    assert.match(device.stderr, /cuda:99/);
    assert.equal(device.code, 3);
    const latents = await sanaNative([
      'generate',
      'x',
      ...MODEL,
      '--latents',
      at('none.safetensors'),
      '-o',
      at('x.png'),
    ]);
    assert.match(latents.stderr, /none\.safetensors/);
    assert.equal(latents.code, 1);
    assert.deepEqual(await readdir(folder), there);
  });

  it('stops at an interrupt with 130 and leaves nothing half-written', async () => {
    const there = await readdir(folder);
    const size = ['-W', '512', '-H', '512', '--no-use-resolution-binning', '--steps', '500', '-n', '4'];
    const args = ['generate', 'x', ...MODEL, ...size, '-o', at('never.png'), '--json'];
    // Before it has begun, an interrupt just ends it: on a busy machine it may take a while to begin.
    let result: CliResult | undefined;
    for (let delayMs = 2000; delayMs < 20_000 && typeof result?.code !== 'number'; delayMs *= 2) {
      result = await sanaNative(args, '', (child) => setTimeout(() => child.kill('SIGINT'), delayMs));
    }
    assert.equal(result?.code, 130);
    assert.equal(JSON.parse(result.stdout.toString()).error.message, 'Interrupted');
    assert.equal(result.stderr, '');
    assert.deepEqual(await readdir(folder), there);
  });
});
