import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kebabCase } from '../../lib/cli/flags.ts';
import { addonFile } from '../../lib/device/native.ts';
import type { Field } from '../../lib/request/field.ts';
import { LOAD } from '../../lib/request/load-table.ts';
import { REQUEST } from '../../lib/request/request-table.ts';
import { PARAMETERS, sampleImage } from '../image/sample.ts';
import { type CliResult, sanaNative } from '../support/cli.ts';

describe('sana-native', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sana-cli-'));
    await sampleImage().save(join(folder, 'given-latents.png'));
    await sampleImage().save(join(folder, 'bare.png'), { metadata: false });
    await mkdir(join(folder, 'folder.png'));
    await writeFile(join(folder, 'text.png'), 'no image');
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  it('prints its version', async () => {
    const { code, stdout } = await sanaNative(['--version']);
    assert.equal(code, 0);
    assert.match(stdout.toString(), /^\d+\.\d+\.\d+\n$/);
  });

  it('prints help on standard output if requested, and on standard error without arguments', async () => {
    const asked = await sanaNative(['generate', '--help']);
    assert.equal(asked.code, 0);
    for (const flag of [
      '--negative-prompt',
      '-W, --width',
      '-H, --height',
      '--num-inference-steps',
      '--steps',
      '-n,',
    ]) {
      assert.ok(asked.stdout.toString().includes(flag), flag);
    }
    assert.match(asked.stdout.toString(), /fox-0\.png and fox-1\.png/);
    const nothing = await sanaNative([]);
    assert.equal(nothing.code, 2);
    assert.equal(nothing.stdout.length, 0);
    assert.match(nothing.stderr, /Usage: sana-native/);
  });

  it('prints every flag in its group, in lines of at most 80 columns', async () => {
    const groups = [
      'Model',
      'Device',
      'Prompt',
      'Size',
      'Sampling',
      'Guidance',
      'Image to image',
      'ControlNet',
      'LoRA',
    ];
    for (const command of ['generate', 'explain']) {
      const { stdout } = await sanaNative([command, '--help']);
      const [help = ''] = stdout.toString().split('Examples:');
      for (const line of help.split('\n')) assert.ok(line.length <= 80, line);
      const headings = [...help.matchAll(/^([A-Z][\w ]*):$/gm)].map(([, heading]) => heading);
      assert.deepEqual(
        headings.filter((heading) => heading !== 'Arguments'),
        [...groups, 'Output', 'Options'],
      );
      for (const [name, { flag }] of Object.entries<Field>({ ...LOAD, ...REQUEST })) {
        const listed = flag !== undefined && !(command === 'explain' && name === 'outputType');
        assert.equal(help.includes(`--${kebabCase(name)}`), listed, name);
      }
    }
  });

  /** Arguments, exit code, and expected standard error. FOLDER is the one made above. */
  const failures: readonly [string, readonly string[], number, RegExp][] = [
    ['an unknown command', ['genrate'], 2, /Did you mean generate\?/],
    ['an unknown flag', ['generate', 'x', '--sed', '1'], 2, /Did you mean --seed\?/],
    ['a prompt without quotes', ['generate', 'a', 'red', 'fox'], 2, /Put quotes around/],
    ['a model that is not there', ['a fox', '--model', 'nowhere'], 5, /nowhere: there is no such folder/],
    ['a LoRA scale alone', ['generate', 'x', '--model', 'x', '--lora-scale', '2'], 2, /needs an adapter/],
    ['a LoRA scale alone, explained', ['explain', '--model', 'x', '--lora-scale', '2'], 2, /needs an adapter/],
    ['an adapter that is not there', ['explain', '--lora', 'none.safetensors'], 1, /none\.safetensors/],
    ['no prompt', ['generate', '--model', 'x'], 2, /No prompt was given/],
    [
      'a width that is none',
      ['generate', 'x', '--width', 'wide'],
      2,
      /'wide' is invalid. Expected an integer from 32 to 8192/,
    ],
    ['a negative seed', ['generate', 'x', '--seed=-1'], 2, /Leave it out for a random one/],
    ['too large a seed', ['generate', 'x', '--seed', '18446744073709551616'], 2, /2\^64 - 1/],
    ['steps twice', ['generate', 'x', '--steps', '2', '--num-inference-steps', '3'], 2, /cannot be used with/],
    ['an unknown scheduler', ['generate', 'x', '--scheduler', 'ddim'], 2, /Allowed choices are flow-dpm-solver/],
    ['seeds that do not fit', ['generate', 'x', '--model', 'x', '--seed', '1,2,3'], 2, /Got 3 seeds for 1 image/],
    ['an unknown extension', ['generate', 'x', '--model', 'x', '-o', 'fox.bmp'], 2, /extension '\.bmp'/],
    [
      'latents to a picture',
      ['generate', 'x', '--model', 'x', '--output-type', 'latent', '-o', 'l.png'],
      2,
      /safetensors/,
    ],
    [
      'several images to standard output',
      ['generate', 'x', '--model', 'x', '-n', '2', '-o', '-'],
      2,
      /takes one image/,
    ],
    ['a folder in the way', ['generate', 'x', '--model', 'x', '-o', 'FOLDER/folder.png'], 1, /it is a folder/],
    [
      'a file for a folder',
      ['generate', 'x', '--model', 'x', '-o', 'FOLDER/text.png/x.png'],
      1,
      /is a file, not a folder/,
    ],
    ['a missing model', ['generate', 'x', '--model', 'FOLDER/none'], 5, /none/],
    ['a folder that is no model', ['explain', '--model', 'FOLDER'], 5, /model_index\.json/],
    ['an image without metadata', ['metadata', 'FOLDER/bare.png'], 1, /has no record of how it was made/],
    ['a file that is no image', ['metadata', 'FOLDER/text.png'], 1, /is not an image/],
    ['a missing image', ['generate', '--from', 'FOLDER/none.png', '--model', 'x'], 1, /Cannot read/],
    [
      'latents that are needed',
      ['generate', '--from', 'FOLDER/given-latents.png', '--model', 'x'],
      2,
      /--latents FILE/,
    ],
  ];
  describe('fails', () => {
    const results: CliResult[] = [];
    before(async () => {
      // Four at once: nearly all of their time is the start of the process.
      const there = await readdir(folder);
      const calls = failures.entries();
      const work = async () => {
        for (const [i, [, args]] of calls)
          results[i] = await sanaNative(args.map((arg) => arg.replace('FOLDER', folder)));
      };
      await Promise.all([work(), work(), work(), work()]);
      assert.deepEqual(await readdir(folder), there); // nothing was made
    });

    for (const [i, [what, , code, message]] of failures.entries()) {
      it(`with ${code} for ${what}`, () => {
        const result = results[i];
        assert.ok(result !== undefined);
        assert.match(result.stderr, message);
        assert.equal(result.code, code);
        assert.equal(result.stdout.length, 0);
        assert.doesNotMatch(result.stderr, /\n\s+at /); // no stack: it was foreseen
      });
    }
  });

  it('prints errors as one JSON object on standard output with --json, and nothing on standard error', async () => {
    for (const [args, code, errorCode] of [
      [['generate', 'x', '--width', '7', '--json'], 2, 'ERR_SANA_ARGUMENT'],
      [['generate', 'x', '--model', 'x', '-o', '-', '--json'], 2, 'ERR_SANA_ARGUMENT'],
      [['generate', 'x', '--json', '--model', '/nonexistent'], 5, 'ERR_SANA_MODEL'],
      [['metadata', '--json', '/nonexistent.png'], 1, 'ERR_SANA_FILE'],
    ] as const) {
      const result = await sanaNative(args);
      const { error } = JSON.parse(result.stdout.toString());
      assert.deepEqual(Object.keys(error), ['code', 'message', 'hint']);
      assert.equal(error.code, errorCode);
      assert.equal(result.code, code);
      assert.equal(result.stderr, '');
    }
  });

  it('prints the machine and its devices', async () => {
    const { code, stdout, stderr } = await sanaNative(['info', '--json']);
    const facts = JSON.parse(stdout.toString());
    assert.equal(facts.node, process.version);
    assert.equal(facts.platform, `${process.platform}-${process.arch}`);
    assert.match(facts.libc, /^(glibc \d|musl|system)/);
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.equal(facts.addon, addonFile());
    const cpu = facts.devices.at(-1);
    assert.deepEqual([cpu.id, cpu.problem], ['cpu', undefined]);
    // What is chosen is what the processor can do.
    const features = new Set(facts.cpuFeatures);
    const paths = { 'avx512-bf16': 'avx512_bf16', avx512: 'avx512f', avx2: 'avx2' };
    if (process.arch === 'x64' && process.platform === 'linux' && !process.env.SANA_NATIVE_CPU_PATH) {
      const best = Object.entries(paths).find(([, feature]) => features.has(feature))?.[0] ?? 'portable';
      assert.equal(cpu.path, best);
    }
    assert.equal(facts.used, facts.devices.find(({ problem }: { problem?: string }) => problem === undefined).id);
    if (facts.used === 'cpu') {
      // Then it gives the reason for each library.
      assert.ok(facts.libraries.length >= 1);
      assert.ok(facts.libraries.every(({ problem }: { problem?: string }) => problem !== undefined));
    }
    for (const { offload, gigabytes } of cpu.fits) {
      assert.ok([null, 'none', 'sequential'].includes(offload));
      assert.equal(offload !== null, gigabytes * 1e9 <= cpu.freeBytes);
    }
    const text = await sanaNative(['info']);
    assert.equal(text.code, code);
    assert.match(
      text.stdout.toString(),
      /^sana-native {2}\d[\s\S]*'auto' +uses [\s\S]*Sana_1600M_4Kpx_BF16_diffusers +4096 x 4096/,
    );
  });

  it('prints what an image was made from, exact as JSON', async () => {
    const prompt = 'a fox\nSteps: 1, Seed: 2';
    await sampleImage({ prompt }).save(join(folder, 'fox.webp'));
    const { code, stdout } = await sanaNative(['metadata', join(folder, 'fox.webp'), '--json']);
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout.toString()), { source: 'sana-native', ...PARAMETERS, prompt });
  });

  it('does not let a prompt drive the terminal', async () => {
    const prompt = 'a\u001b[31m\u009b2J\u0007\u202efox\0 žluť 🦊';
    await sampleImage({ prompt }).save(join(folder, 'fox.png'));
    const { code, stdout } = await sanaNative(['metadata', join(folder, 'fox.png')]);
    assert.equal(code, 0);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
    assert.doesNotMatch(stdout.toString(), /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
    assert.match(stdout.toString(), /^prompt {2,}a\[31m2Jfox žluť 🦊$/m);
  });
});
