import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { sanaNative } from '../support/cli.ts';

const MODEL = ['--model', 'test/fixtures/sana-base', '--dtype', 'float32'];

describe('sana-native generate with pictures', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sana-pictures-'));
    const background = { r: 200, g: 30, b: 60 };
    await sharp({ create: { width: 96, height: 64, channels: 3, background } })
      .png()
      .toFile(at('red.png'));
    const half = sharp({ create: { width: 48, height: 64, channels: 3, background: '#ffffff' } });
    await sharp({ create: { width: 96, height: 64, channels: 3, background: '#000000' } })
      .composite([{ input: await half.png().toBuffer(), left: 48, top: 0 }])
      .png()
      .toFile(at('mask.png'));
  });
  after(async () => {
    await rm(folder, { recursive: true });
  });

  it('redraws where the mask is white, and repeats it from the file if the pictures are given again', async () => {
    const pictures = ['--image', at('red.png'), '--mask-image', at('mask.png')];
    const small = [...MODEL, '--no-use-resolution-binning', '--steps', '2', '--seed', '3', '--pag-scale', '1.5'];
    const made = await sanaNative(['a red fox', ...pictures, ...small, '-o', at('fox.png')]);
    assert.equal(made.stderr, '');
    assert.equal(made.code, 0);
    const { data } = await sharp(at('fox.png')).raw().toBuffer({ resolveWithObject: true });
    for (let i = 0; i < data.length; i += 3) {
      if ((i / 3) % 96 < 48) assert.deepEqual([...data.subarray(i, i + 3)], [200, 30, 60]);
    }

    const without = await sanaNative(['--from', at('fox.png'), ...MODEL, '-o', at('again.png')]);
    assert.equal(without.code, 2);
    assert.match(without.stderr, /made from another picture \(--image\)\n.*Pass that picture again with --image FILE/);
    const again = await sanaNative(['--from', at('fox.png'), ...pictures, ...MODEL, '-o', at('again.png')]);
    assert.equal(again.stderr, '');
    assert.deepEqual(await readFile(at('again.png')), await readFile(at('fox.png')));
    const swapped = ['--image', at('mask.png'), '--mask-image', at('mask.png')];
    const other = await sanaNative(['--from', at('fox.png'), ...swapped, ...MODEL, '-o', at('other.png')]);
    assert.match(other.stderr, /the picture to start from differs/);
  });
});
