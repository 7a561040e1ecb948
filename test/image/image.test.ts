import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { SanaError } from '../../lib/base/errors.ts';
import { type EncodedFormat, type EncodeOptions, SanaImage } from '../../lib/image/image.ts';
import { PARAMETERS, sampleImage } from './sample.ts';

function isError(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SanaError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.notEqual(error.hint, '');
    return true;
  };
}

describe('SanaImage', () => {
  const image = sampleImage();
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sana-image-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('has its 64-bit seed', () => {
    assert.equal(image.seed, 2n ** 64n - 1n);
  });

  it('becomes JSON without its pixels', () => {
    assert.deepEqual(JSON.parse(JSON.stringify(image)), {
      width: 48,
      height: 32,
      seed: '18446744073709551615',
      parameters: PARAMETERS,
    });
  });

  it('rejects pixels that do not match its size', () => {
    const make = () => new SanaImage({ width: 4, height: 4, data: new Uint8Array(47) }, PARAMETERS);
    assert.throws(make, isError('ERR_SANA_ARGUMENT', /48/));
  });

  it('hands its pixels to sharp', async () => {
    assert.deepEqual(new Uint8Array(await image.toSharp().raw().toBuffer()), image.data);
  });

  for (const metadata of [true, false]) {
    for (const format of ['png', 'webp', 'avif'] as const) {
      it(`keeps every pixel in lossless ${format}, ${metadata ? 'with' : 'without'} metadata`, async () => {
        const file = await image.toBuffer(format, { metadata, ...(format !== 'png' && { lossless: true }) });
        const { data, info } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true });
        assert.deepEqual([info.width, info.height, info.channels], [48, 32, 3]);
        const worst = data.reduce((most, value, i) => Math.max(most, Math.abs(value - (image.data[i] ?? 0))), 0);
        assert.ok(worst <= (format === 'avif' ? 2 : 0), `off by ${worst}`); // AVIF goes through YCbCr
      });
    }
  }

  it('encodes smaller at a lower quality', async () => {
    for (const format of ['jpeg', 'webp', 'avif'] as const) {
      const low = await image.toBuffer(format, { quality: 5 });
      assert.ok(low.length < (await image.toBuffer(format, { quality: 95 })).length, format);
    }
  });

  it('gives the same bytes twice', async () => {
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      assert.deepEqual(await image.toBuffer(format), await image.toBuffer(format));
    }
  });

  const wrongOptions: readonly [EncodedFormat, object, RegExp][] = [
    ['png', { quality: 90 }, /`quality`.*png has no quality/],
    ['png', { compressionLevel: 10 }, /`compressionLevel`.*0 to 9/],
    ['jpeg', { lossless: true }, /`lossless`/],
    ['jpeg', { quality: 0 }, /`quality`.*1 to 100/],
    ['webp', { quality: '90' }, /`quality`/],
    ['avif', { metadata: 'yes' }, /`metadata`.*true or false/],
    ['jpeg', { qualty: 90 }, /unknown key, `qualty`/],
    ['bmp' as EncodedFormat, {}, /`format`.*'png' or 'jpeg'/],
  ];
  for (const [format, options, message] of wrongOptions) {
    it(`rejects ${format} with ${JSON.stringify(options)}`, async () => {
      await assert.rejects(image.toBuffer(format, options as EncodeOptions), isError('ERR_SANA_ARGUMENT', message));
    });
  }

  describe('save', () => {
    for (const [name, format] of [
      ['fox.png', 'png'],
      ['fox.jpg', 'jpeg'],
      ['fox.JPEG', 'jpeg'],
      ['fox.webp', 'webp'],
      ['fox.avif', 'heif'],
      ['a/b/c d/狐.png', 'png'],
    ] as const) {
      it(`writes ${name} in the format of its extension, and nothing else`, async () => {
        await image.save(join(folder, name));
        assert.equal((await sharp(join(folder, name)).metadata()).format, format);
        assert.equal((await readdir(join(folder, name, '..'))).length, 1);
      });
    }

    it('replaces a file whole', async () => {
      const path = join(folder, 'fox.png');
      await writeFile(path, 'x'.repeat(1_000_000));
      await image.save(path);
      assert.deepEqual(await readFile(path), await image.toBuffer('png'));
    });

    it('does not write through a link to another file', async () => {
      await writeFile(join(folder, 'other'), 'untouched');
      await symlink(join(folder, 'other'), join(folder, 'fox.png'));
      await image.save(join(folder, 'fox.png'));
      assert.equal(await readFile(join(folder, 'other'), 'utf8'), 'untouched');
    });

    it('survives being called at once for one name', async () => {
      const path = join(folder, 'fox.png');
      await Promise.all(Array.from({ length: 8 }, () => image.save(path)));
      assert.deepEqual(await readdir(folder), ['fox.png']);
      assert.deepEqual(await readFile(path), await image.toBuffer('png'));
    });

    it('rejects a name without a known extension', async () => {
      for (const name of ['fox', 'fox.bmp', 'fox.', '.png', 'fox.png.txt', 'fox.constructor']) {
        await assert.rejects(image.save(join(folder, name)), isError('ERR_SANA_FILE', /extension/), name);
      }
      assert.deepEqual(await readdir(folder), []);
    });

    it('rejects values that are not names', async () => {
      for (const name of ['', undefined, 7, null]) {
        await assert.rejects(image.save(name as string), isError('ERR_SANA_ARGUMENT', /`path`/));
      }
    });

    it('reports a folder in the way, and leaves no files behind', async () => {
      await mkdir(join(folder, 'fox.png', 'inside'), { recursive: true });
      await assert.rejects(image.save(join(folder, 'fox.png')), isError('ERR_SANA_FILE', /folder of that name/));
      assert.deepEqual(await readdir(folder), ['fox.png']);
    });

    it('reports a file where a folder is needed', async () => {
      await writeFile(join(folder, 'file'), '');
      await assert.rejects(image.save(join(folder, 'file', 'fox.png')), isError('ERR_SANA_FILE', /Cannot write/));
      assert.deepEqual(await readdir(folder), ['file']);
    });

    it('reports a folder that cannot be written to', async () => {
      // A folder that takes no files from anyone, root included.
      await assert.rejects(image.save('/proc/self/fox.png'), isError('ERR_SANA_FILE', /Cannot write '\/proc/));
    });

    it('reports a name that is too long or contains a NUL', async () => {
      await assert.rejects(
        image.save(join(folder, `${'x'.repeat(300)}.png`)),
        isError('ERR_SANA_FILE', /Cannot write/),
      );
      await assert.rejects(image.save(join(folder, 'a\0b.png')), isError('ERR_SANA_FILE', /Cannot write/));
      assert.deepEqual(await readdir(folder), []);
    });
  });
});
