import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { SanaError } from '../../lib/base/errors.ts';
import { readUserComment } from '../../lib/image/exif.ts';
import { readGenerationMetadata } from '../../lib/image/metadata.ts';
import { readParametersText, writeParametersText } from '../../lib/image/parameters-text.ts';
import { insertPngText, readPngText } from '../../lib/image/png-text.ts';
import { PARAMETERS, randomNumbers, sampleImage } from './sample.ts';

const blank = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#00ff00' } })
  .png()
  .toBuffer();

const PROMPTS: Readonly<Record<string, string>> = {
  plain: 'a red fox in snow',
  empty: '',
  Czech: 'Žluťoučký kůň',
  'Chinese and emoji': '雪中的红狐 🦊👩‍👩‍👧',
  'line breaks': 'one\r\ntwo\n\nthree',
  'a fake last line': 'fox\nSteps: 1, Seed: 2, Size: 64x64',
  'a fake negative prompt': 'Negative prompt: everything\nNegative prompt: more',
  'quotes, colons and commas': 'a "fox", he said: \'hi\' \\ "',
  'NUL and escape sequences': 'a\0b\u001b[31mred\u0007\u009b2J',
  HTML: '<script>alert(1)</script></sana:parameters>&amp;',
  'odd separators': 'a\u2028b\u2029c\u0085d\ufffee',
  '64 kB': 'fox '.repeat(16384),
};

const LORAS = [
  { name: 'ink, "wash"', scale: -0.5, sha256: '01'.repeat(32) },
  { name: 'žlutá', scale: 1, sha256: 'ab'.repeat(32) },
];

describe('generation metadata', () => {
  for (const format of ['png', 'jpeg', 'webp', 'avif'] as const) {
    for (const [what, prompt] of Object.entries(PROMPTS)) {
      if (format === 'jpeg' && what === '64 kB') continue; // more than a JPEG segment holds: tested below
      it(`is read back exactly from ${format}: ${what}`, async () => {
        const file = await sampleImage({ prompt, negativePrompt: prompt }).toBuffer(format);
        const read = await readGenerationMetadata(file);
        assert.deepEqual(read, { source: 'sana-native', ...PARAMETERS, prompt, negativePrompt: prompt });
      });
    }

    it(`is left out of ${format} if not wanted`, async () => {
      const file = await sampleImage().toBuffer(format, { metadata: false });
      assert.equal(await readGenerationMetadata(file), null);
      assert.equal(file.includes('fox'), false);
    });
  }

  it('records that there was no instruction, and nothing that was the default', async () => {
    const { complexHumanInstruction: _, latentsSha256: __, controlImageSha256: ___, ...rest } = PARAMETERS;
    const image = sampleImage({ complexHumanInstruction: null });
    const read = await readGenerationMetadata(await image.toBuffer('png'));
    assert.equal(read?.complexHumanInstruction, null);
    const plain = insertPngText(blank, { 'sana-native': JSON.stringify({ format: 1, ...rest }) });
    assert.deepEqual(await readGenerationMetadata(plain), { source: 'sana-native', ...rest });
  });

  it('records the LoRA adapters, if there are any', async () => {
    const image = sampleImage({ loras: LORAS, loraScale: 0.8 });
    for (const format of ['png', 'webp'] as const) {
      const read = await readGenerationMetadata(await image.toBuffer(format));
      assert.deepEqual(read, { source: 'sana-native', ...PARAMETERS, loras: LORAS, loraScale: 0.8 });
    }
  });

  it('is left out of a JPEG if it is longer than a segment, and the file is valid', async () => {
    const file = await sampleImage({ prompt: 'fox '.repeat(25_000) }).toBuffer('jpeg');
    assert.equal(await readGenerationMetadata(file), null);
    assert.equal((await sharp(file).metadata()).width, 48);
  });

  it('is read from a file as from a buffer', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sana-metadata-'));
    try {
      await sampleImage().save(join(folder, 'fox.png'));
      assert.deepEqual(await readGenerationMetadata(join(folder, 'fox.png')), {
        source: 'sana-native',
        ...PARAMETERS,
      });
      execFileSync('mkfifo', [join(folder, 'pipe.png')]);
      await writeFile(join(folder, 'text.png'), 'no image at all');
      for (const name of ['pipe.png', 'text.png', 'missing.png', '.', 'nul\0.png']) {
        await assert.rejects(
          readGenerationMetadata(join(folder, name)),
          (error) => error instanceof SanaError && error.code === 'ERR_SANA_FILE',
          name,
        );
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('is null for an image without metadata', async () => {
    assert.equal(await readGenerationMetadata(blank), null);
    for (const format of ['jpeg', 'webp', 'avif', 'gif'] as const) {
      assert.equal(await readGenerationMetadata(await sharp(blank).toFormat(format).toBuffer()), null);
    }
  });

  it('does not believe an exact record with a field that this package would not write', async () => {
    const wrong: Readonly<Record<string, unknown>> = {
      format: 2,
      prompt: 7,
      negativePrompt: null,
      width: 0,
      height: 1e9,
      numInferenceSteps: 1.5,
      guidanceScale: '4.5',
      scheduler: 'euler_a',
      seed: 7,
      complexHumanInstruction: 'text',
      cleanCaption: 0,
      maxSequenceLength: -1,
      useResolutionBinning: 'yes',
      decodeTiling: 'tiles',
      latentsSha256: {},
      controlnetConditioningScale: '1',
      controlImageSha256: 7,
      loraScale: '1',
      model: ['x'],
      modelFingerprint: 'x'.repeat(5000),
      dtype: 'int4',
      devicePath: null,
      version: undefined,
    };
    for (const [field, value] of Object.entries(wrong)) {
      const json = JSON.stringify({ format: 1, ...PARAMETERS, [field]: value });
      assert.equal(await readGenerationMetadata(insertPngText(blank, { 'sana-native': json })), null, field);
    }
    for (const wrongLora of [{ name: '' }, { name: 'a\nb' }, { scale: null }, { sha256: 'ab' }, { sha256: 1 }]) {
      const json = JSON.stringify({ format: 1, ...PARAMETERS, loras: [{ ...LORAS[0], ...wrongLora }] });
      assert.equal(await readGenerationMetadata(insertPngText(blank, { 'sana-native': json })), null);
    }
    const big = JSON.stringify({ format: 1, ...PARAMETERS, seed: String(2n ** 64n) });
    assert.equal(await readGenerationMetadata(insertPngText(blank, { 'sana-native': big })), null);
    for (const json of ['', 'null', '[]', '"x"', '{', '['.repeat(500_000)]) {
      assert.equal(await readGenerationMetadata(insertPngText(blank, { 'sana-native': json })), null);
    }
  });

  it('falls back to the text when the exact record is damaged', async () => {
    const file = await sampleImage().toBuffer('png');
    const damaged = Buffer.from(file);
    damaged[damaged.indexOf('"format"')] = 0;
    const read = await readGenerationMetadata(damaged);
    assert.equal(read?.source, 'a1111');
    assert.equal(read?.prompt, PARAMETERS.prompt);
  });

  it('ends in an answer or a typed error on any bytes', async () => {
    const files = [
      await sampleImage({ prompt: '雪' }).toBuffer('png'),
      await sampleImage().toBuffer('jpeg'),
      await sampleImage().toBuffer('webp'),
      await sampleImage().toBuffer('avif'),
    ];
    const random = randomNumbers(11);
    const pick = (n: number) => Math.floor(random() * n);
    let slowest = 0;
    let answers = 0;
    for (let round = 0; round < 4000; round++) {
      const file = files[round % files.length] ?? blank;
      let mutant = Buffer.from(file);
      for (let change = pick(8); change >= 0; change--) mutant[pick(mutant.length)] = pick(256);
      if (pick(3) === 0) mutant = mutant.subarray(0, pick(mutant.length));
      const start = performance.now();
      try {
        const read = await readGenerationMetadata(mutant);
        if (read?.source === 'sana-native') answers++;
      } catch (error) {
        assert.ok(error instanceof SanaError && error.code === 'ERR_SANA_FILE', String(error));
      }
      slowest = Math.max(slowest, performance.now() - start);
    }
    assert.ok(answers > 500);
    assert.ok(slowest < 1000);
  });
});

describe('the text form of generation parameters', () => {
  it('is what viewers read', () => {
    assert.equal(
      writeParametersText(PARAMETERS),
      [
        'a red fox in snow',
        'Negative prompt: blurry',
        'Steps: 20, Sampler: flow-dpm-solver, CFG scale: 4.5, Seed: 18446744073709551615, Size: 48x32, ' +
          'Model hash: 0123456789, Model: sana-tiny, Version: sana-native 0.1.0',
      ].join('\n'),
    );
  });

  it('has the LoRA adapters and their total strength', () => {
    const text = writeParametersText({ ...PARAMETERS, loras: LORAS, loraScale: 0.5 });
    assert.ok(text.includes(', LoRA: "ink, \\"wash\\" -0.25, žlutá 0.5", Version: '));
    assert.equal(readParametersText(text)?.seed, PARAMETERS.seed);
  });

  it('quotes values that contain separators', () => {
    const text = writeParametersText({ ...PARAMETERS, model: 'a, b: "c"' });
    assert.ok(text.includes('Model: "a, b: \\"c\\""'));
    assert.equal(readParametersText(text)?.model, 'a, b: "c"');
  });

  for (const [what, prompt] of Object.entries(PROMPTS)) {
    it(`cannot be spoofed by a prompt: ${what}`, () => {
      const text = writeParametersText({ ...PARAMETERS, prompt, negativePrompt: prompt });
      assert.ok(text.split('\n').length <= 3);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: that is the point
      assert.doesNotMatch(text, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
      const read = readParametersText(text);
      assert.equal(read?.seed, PARAMETERS.seed);
      assert.equal(read?.numInferenceSteps, 20);
      assert.equal(read?.width, 48);
      if (prompt !== '') assert.notEqual(read?.prompt, '');
    });
  }

  it('is read as other programs write it', async () => {
    const text =
      'masterpiece, a cat\nsecond line\nNegative prompt: bad hands,\nworst quality\n' +
      'Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 123, Size: 512x768, Model hash: abc, Model: some model, ' +
      'Lora hashes: "a: 1, b: 2", Version: v1.6.0';
    assert.deepEqual(await readGenerationMetadata(insertPngText(blank, { parameters: text })), {
      source: 'a1111',
      prompt: 'masterpiece, a cat\nsecond line',
      negativePrompt: 'bad hands,\nworst quality',
      width: 512,
      height: 768,
      numInferenceSteps: 30,
      guidanceScale: 7,
      seed: '123',
      model: 'some model',
      modelFingerprint: 'abc',
    });
  });

  it('is null when the last line has fewer than three fields', () => {
    for (const text of ['', 'a prompt', 'a\nSteps: 1, Seed: 2', 'a: b, c', 'Steps 1, Seed 2, Size 3', '\n\n\n']) {
      assert.equal(readParametersText(text), null);
    }
  });

  it('drops values that cannot be', () => {
    const read = readParametersText('p\nSteps: 1e9, Seed: -1, Size: 0x99999, CFG scale: NaN, Sampler: Euler a');
    assert.deepEqual(read, { prompt: 'p', negativePrompt: '' });
  });

  it('is read in bounded time, whatever it contains', () => {
    const hostile = [
      'a:",'.repeat(250_000),
      'a:"\\'.repeat(250_000),
      `Steps: "${'\\"'.repeat(400_000)}`,
      'a'.repeat(1_000_000),
      `a${' '.repeat(1_000_000)}`,
      'a: b, '.repeat(170_000),
      '\n'.repeat(1_000_000),
      `${'x\n'.repeat(300_000)}Steps: 1, Seed: 2, Size: 3x4`,
    ];
    for (const text of hostile) {
      const start = performance.now();
      readParametersText(text);
      assert.ok(performance.now() - start < 2000, text.slice(0, 10));
    }
  });
});

describe('the EXIF user comment', () => {
  /** An EXIF block with one folder that leads to one with a comment. */
  function exif(order: 'II' | 'MM', comment: Buffer): Buffer {
    const block = Buffer.alloc(44);
    const u16 = (value: number, at: number) =>
      (order === 'II' ? block.writeUInt16LE : block.writeUInt16BE).call(block, value, at);
    const u32 = (value: number, at: number) =>
      (order === 'II' ? block.writeUInt32LE : block.writeUInt32BE).call(block, value, at);
    block.write(order, 0, 'latin1');
    u16(42, 2);
    u32(8, 4);
    u16(1, 8); // entries
    u16(0x8769, 10);
    u16(4, 12);
    u32(1, 14);
    u32(26, 18); // where the EXIF folder is
    u16(1, 26);
    u16(0x9286, 28);
    u16(7, 30);
    u32(comment.length, 32);
    u32(44, 36);
    return Buffer.concat([Buffer.from('Exif\0\0'), block, comment]);
  }
  const utf16be = (text: string) => Buffer.from(text, 'utf16le').swap16();

  it('is read in either byte order and each encoding', () => {
    for (const order of ['II', 'MM'] as const) {
      assert.equal(readUserComment(exif(order, Buffer.from('ASCII\0\0\0a fox\0'))), 'a fox');
      const unicode = Buffer.concat([Buffer.from('UNICODE\0'), utf16be('a 狐')]);
      assert.equal(readUserComment(exif(order, unicode)), 'a 狐');
    }
    const little = Buffer.concat([Buffer.from('UNICODE\0'), Buffer.from('a 狐', 'utf16le')]);
    assert.equal(readUserComment(exif('II', little)), 'a 狐');
  });

  it('is null or a string on any bytes', () => {
    const block = exif('II', Buffer.from('ASCII\0\0\0a fox in snow'));
    const random = randomNumbers(3);
    let read = 0;
    for (let round = 0; round < 20_000; round++) {
      const mutant = Buffer.from(block);
      for (let i = 0; i < 2; i++) mutant[Math.floor(random() * mutant.length)] = Math.floor(random() * 256);
      const comment = readUserComment(mutant.subarray(0, Math.floor((0.5 + random()) * mutant.length)));
      assert.ok(comment === null || typeof comment === 'string');
      if (comment !== null) read++;
    }
    assert.ok(read > 1000);
  });

  it('carries the parameters of JPEG files for viewers', async () => {
    const { exif: block } = await sharp(await sampleImage().toBuffer('jpeg')).metadata();
    assert.equal(readUserComment(block ?? Buffer.alloc(0)), writeParametersText(PARAMETERS));
  });
});

describe('the chunks of a PNG file made here', () => {
  it('are the text, for viewers, and the exact record', async () => {
    const texts = readPngText(await sampleImage().toBuffer('png'), ['parameters', 'sana-native']);
    assert.equal(texts.get('parameters'), writeParametersText(PARAMETERS));
    assert.deepEqual(JSON.parse(texts.get('sana-native') ?? ''), { format: 1, ...PARAMETERS });
  });
});
