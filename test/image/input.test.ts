import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { SanaError } from '../../lib/base/errors.ts';
import { readImage } from '../../lib/image/input.ts';
import type { ImageInput } from '../../lib/request/types.ts';
import { randomNumbers, sampleImage } from './sample.ts';

/** 2 x 1: red, green. */
const RED_GREEN = Uint8Array.of(255, 0, 0, 0, 255, 0);

function encoder(channels: 1 | 2 | 3 | 4, data: readonly number[], width: number, height: number): Sharp {
  return sharp(Uint8Array.from(data), { raw: { width, height, channels } });
}

async function pixels(input: ImageInput): Promise<[number, number, number[]]> {
  const { width, height, data } = await readImage(input);
  assert.ok(data instanceof Uint8Array);
  return [width, height, [...data]];
}

function isError(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof SanaError && error.code === code && message.test(error.message);
}

describe('a picture given by a caller', () => {
  const redGreen = () => encoder(3, [...RED_GREEN], 2, 1);
  const expected: [number, number, number[]] = [2, 1, [...RED_GREEN]];

  it('may be a path, an encoded buffer, a sharp instance, raw RGB or a generated image', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sana-input-'));
    try {
      const png = await redGreen().png().toBuffer();
      await writeFile(join(folder, 'image'), png);
      assert.deepEqual(await pixels(join(folder, 'image')), expected);
      assert.deepEqual(await pixels(png), expected);
    } finally {
      await rm(folder, { recursive: true });
    }
    assert.deepEqual(await pixels(redGreen()), expected);
    assert.deepEqual(await pixels({ width: 2, height: 1, data: RED_GREEN }), expected);
    const image = sampleImage();
    assert.deepEqual(await pixels(image), [48, 32, [...image.data]]);
  });

  it('may be a buffer in the middle of a larger one', async () => {
    const png = await redGreen().png().toBuffer();
    const larger = Buffer.concat([Buffer.alloc(13), png, Buffer.alloc(7)]);
    assert.deepEqual(await pixels(larger.subarray(13, 13 + png.length)), expected);
  });

  for (const format of ['png', 'webp', 'gif', 'tiff'] as const) {
    it(`may be ${format}`, async () => {
      const options = { png: {}, webp: { lossless: true }, gif: {}, tiff: { compression: 'none' } }[format];
      assert.deepEqual(await pixels(await redGreen().toFormat(format, options).toBuffer()), expected);
    });
  }

  it('may be JPEG and AVIF, as close as they keep it', async () => {
    for (const format of ['jpeg', 'avif'] as const) {
      const file = await sharp({ create: { width: 16, height: 16, channels: 3, background: '#c06020' } })
        .toFormat(format)
        .toBuffer();
      const { data } = await readImage(file);
      for (const [c, value] of [0xc0, 0x60, 0x20].entries()) assert.ok(Math.abs((data[c] ?? 0) - value) <= 3);
    }
  });

  it('has what is transparent on white', async () => {
    const file = await encoder(4, [255, 0, 0, 255, 0, 255, 0, 0, 0, 0, 255, 128], 3, 1).png().toBuffer();
    assert.deepEqual(await pixels(file), [3, 1, [255, 0, 0, 255, 255, 255, 127, 127, 255]]);
  });

  it('may be grey, with alpha and without, and of 16 bits', async () => {
    assert.deepEqual(await pixels(await encoder(1, [7, 200], 2, 1).toColourspace('b-w').png().toBuffer()), [
      2,
      1,
      [7, 7, 7, 200, 200, 200],
    ]);
    const greyAlpha = await encoder(2, [7, 255, 200, 0], 2, 1).toColourspace('b-w').png().toBuffer();
    assert.deepEqual(await pixels(greyAlpha), [2, 1, [7, 7, 7, 255, 255, 255]]);
    const deep = await redGreen().toColourspace('rgb16').png().toBuffer();
    assert.equal((await sharp(deep).metadata()).depth, 'ushort');
    assert.deepEqual(await pixels(deep), expected);
    const deepGrey = await encoder(1, [7, 200], 2, 1).toColourspace('grey16').png().toBuffer();
    assert.equal((await sharp(deepGrey).metadata()).depth, 'ushort');
    assert.equal((await pixels(deepGrey))[2].length, 6);
  });

  it('may be CMYK', async () => {
    const file = await sharp({ create: { width: 16, height: 16, channels: 3, background: '#ff0000' } })
      .toColourspace('cmyk')
      .jpeg()
      .toBuffer();
    assert.equal((await sharp(file).metadata()).space, 'cmyk');
    const [, , [red = 0, green = 255, blue = 255]] = await pixels(file);
    assert.ok(red > 180 && green < 80 && blue < 80, `${red} ${green} ${blue}`);
  });

  it('stands upright by its EXIF orientation', async () => {
    const lying = await redGreen().withMetadata({ orientation: 6 }).tiff({ compression: 'none' }).toBuffer();
    assert.deepEqual(await pixels(lying), [1, 2, [...RED_GREEN]]);
    const turned = await redGreen().withMetadata({ orientation: 3 }).tiff({ compression: 'none' }).toBuffer();
    assert.deepEqual(await pixels(turned), [2, 1, [0, 255, 0, 255, 0, 0]]);
  });

  it('keeps what a sharp instance is set to do, and leaves the instance usable', async () => {
    const instance = redGreen().resize(4, 2, { kernel: 'nearest' });
    assert.equal((await readImage(instance)).width, 4);
    assert.equal((await readImage(instance)).height, 2);
    assert.equal((await instance.png().toBuffer({ resolveWithObject: true })).info.width, 4);
  });

  const wrong: readonly [string, unknown, string, RegExp][] = [
    ['a number', 7, 'ERR_SANA_ARGUMENT', /`image`.*a path, an encoded Buffer/],
    ['null', null, 'ERR_SANA_ARGUMENT', /`image`/],
    ['an object without data', { width: 1, height: 1 }, 'ERR_SANA_ARGUMENT', /`image`/],
    [
      'too few bytes',
      { width: 2, height: 2, data: new Uint8Array(11) },
      'ERR_SANA_ARGUMENT',
      /`image.data.length`.*12/,
    ],
    ['RGBA', { width: 2, height: 2, data: new Uint8Array(16) }, 'ERR_SANA_ARGUMENT', /`image.data.length`/],
    ['floats', { width: 1, height: 1, data: new Float32Array(3) }, 'ERR_SANA_ARGUMENT', /`image.data`.*Uint8Array/],
    ['no width', { width: 0, height: 1, data: new Uint8Array(0) }, 'ERR_SANA_ARGUMENT', /`image.width`/],
    ['half a pixel', { width: 0.5, height: 2, data: new Uint8Array(3) }, 'ERR_SANA_ARGUMENT', /`image.width`/],
    ['a huge claim', { width: 65535, height: 65535, data: new Uint8Array(3) }, 'ERR_SANA_ARGUMENT', /pixels/],
    ['an empty buffer', Buffer.alloc(0), 'ERR_SANA_FILE', /not an image/],
    [
      'text',
      Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>'),
      'ERR_SANA_FILE',
      /not an image/,
    ],
    ['a missing file', '/nonexistent/fox.png', 'ERR_SANA_FILE', /Cannot read '\/nonexistent\/fox.png'/],
    ['a folder', tmpdir(), 'ERR_SANA_FILE', /not a regular file/],
    ['a device', '/dev/zero', 'ERR_SANA_FILE', /not a regular file/],
    ['an empty path', '', 'ERR_SANA_FILE', /Cannot read/],
  ];
  for (const [what, input, code, message] of wrong) {
    it(`is rejected if it is ${what}`, async () => {
      await assert.rejects(readImage(input as ImageInput), isError(code, message));
    });
  }

  it('names the argument it came as', async () => {
    await assert.rejects(readImage(7 as unknown as ImageInput, 'maskImage'), /`maskImage`/);
  });

  it('is rejected if it is too large', async () => {
    const bomb = await redGreen().png().toBuffer();
    bomb.writeUInt32BE(16_000, 16); // the width and height of its header
    bomb.writeUInt32BE(16_000, 20);
    bomb.writeUInt32BE(crc32(bomb.subarray(12, 29)), 29);
    await assert.rejects(readImage(bomb), isError('ERR_SANA_FILE', /pixel limit/));
  });

  it('is read or rejected with a typed error, whatever its bytes are', async () => {
    const image = sampleImage();
    const files = await Promise.all([image.toBuffer('png'), image.toBuffer('jpeg'), image.toBuffer('webp')]);
    const random = randomNumbers(5);
    const pick = (n: number) => Math.floor(random() * n);
    const outcomes = { read: 0, refused: 0 };
    for (let round = 0; round < 600; round++) {
      const mutant = Buffer.from(files[round % files.length] ?? []);
      for (let change = pick(6); change >= 0; change--) mutant[pick(mutant.length)] = pick(256);
      try {
        const { width, height, data } = await readImage(
          pick(4) === 0 ? mutant.subarray(0, pick(mutant.length)) : mutant,
        );
        assert.equal(data.length, width * height * 3);
        outcomes.read++;
      } catch (error) {
        assert.ok(error instanceof SanaError && error.code === 'ERR_SANA_FILE', String(error));
        outcomes.refused++;
      }
    }
    assert.ok(outcomes.read > 50 && outcomes.refused > 50, JSON.stringify(outcomes));
  });
});
