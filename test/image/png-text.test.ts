import assert from 'node:assert/strict';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { insertPngText, readPngText } from '../../lib/image/png-text.ts';
import { randomNumbers } from './sample.ts';

const png = await sharp({ create: { width: 4, height: 4, channels: 3, background: '#ff0000' } })
  .png()
  .toBuffer();

function chunk(type: string, data: Buffer | string): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), Buffer.from(data as string, 'latin1')]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(body.length - 4);
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(crc32(body));
  return Buffer.concat([bytes, body, crc]);
}

/** The sample with a chunk after its header. */
function withChunk(...chunks: Buffer[]): Buffer {
  return Buffer.concat([png.subarray(0, 33), ...chunks, png.subarray(33)]);
}

describe('text chunks of PNG files', () => {
  const texts: [string, string, 'tEXt' | 'iTXt'][] = [
    ['plain ASCII', 'a red fox', 'tEXt'],
    ['an empty text', '', 'tEXt'],
    ['line breaks', 'one\ntwo\n', 'tEXt'],
    ['Latin-1', 'Füchse über Ærø', 'tEXt'],
    ['Czech', 'žluťoučký kůň', 'iTXt'],
    ['Chinese and emoji', '雪中的红狐 🦊', 'iTXt'],
    ['C1 control characters, which Latin-1 chunks may not hold', 'a\u0085b', 'iTXt'],
    ['64 kB', 'fox '.repeat(16384), 'tEXt'],
    ['300 kB of UTF-8', '狐'.repeat(100_000), 'iTXt'],
  ];
  for (const [what, text, type] of texts) {
    it(`stores ${what} in a ${type} chunk and reads it back`, () => {
      const file = insertPngText(png, { parameters: text, other: 'x' });
      assert.equal(readPngText(file, ['parameters']).get('parameters'), text);
      assert.equal(file.toString('latin1', 37, 41), type);
    });
  }

  it('leaves the picture as it was, for other decoders too', async () => {
    const file = insertPngText(png, { parameters: 'fox 🦊', more: 'text' });
    assert.deepEqual(await sharp(file).raw().toBuffer(), await sharp(png).raw().toBuffer());
    const { comments } = await sharp(file).metadata();
    assert.equal(comments?.find(({ keyword }) => keyword === 'parameters')?.text, 'fox 🦊');
  });

  it('reads deflated chunks', () => {
    const deflated = deflateSync(Buffer.from('füchse', 'latin1')).toString('latin1');
    const deflatedUtf8 = deflateSync('狐').toString('latin1');
    const file = withChunk(chunk('zTXt', `a\0\0${deflated}`), chunk('iTXt', `b\0\x01\0en\0\0${deflatedUtf8}`));
    assert.deepEqual(
      [...readPngText(file, ['a', 'b'])],
      [
        ['a', 'füchse'],
        ['b', '狐'],
      ],
    );
  });

  it('believes the first of two chunks with one keyword', () => {
    const file = withChunk(chunk('tEXt', 'a\0first'), chunk('tEXt', 'a\0second'));
    assert.equal(readPngText(file, ['a']).get('a'), 'first');
  });

  it('skips damaged chunks and continues after them', () => {
    const bad = chunk('tEXt', 'a\0text');
    bad.writeUInt32BE(7, bad.length - 4); // not its CRC
    const chunks = [
      bad,
      chunk('tEXt', 'a'), // no end of the keyword
      chunk('zTXt', 'a\0\0not deflated'),
      chunk('zTXt', 'a\0\x07'), // unknown method
      chunk('iTXt', 'a\0'),
      chunk('iTXt', 'a\0\x01\0en'),
      chunk('iTXt', 'a\0\x02\0\0\0text'),
    ];
    assert.equal(readPngText(withChunk(...chunks), ['a']).size, 0);
    assert.equal(readPngText(withChunk(...chunks, chunk('tEXt', 'a\0good')), ['a']).get('a'), 'good');
  });

  it('does not inflate a bomb', () => {
    const bomb = deflateSync(Buffer.alloc(64 << 20)).toString('latin1');
    const bombs = Array.from({ length: 1000 }, () => chunk('zTXt', `a\0\0${bomb}`));
    const before = process.memoryUsage().rss;
    const start = performance.now();
    assert.equal(readPngText(withChunk(...bombs), ['a']).size, 0);
    assert.ok(performance.now() - start < 2000);
    assert.ok(process.memoryUsage().rss - before < 256 << 20);
  });

  it('stops at a length that leads out of the file', () => {
    for (const length of [0x7fffffff, 0xffffffff, png.length]) {
      const file = withChunk(chunk('tEXt', 'a\0text'));
      file.writeUInt32BE(length, 33);
      assert.equal(readPngText(file, ['a']).size, 0);
    }
  });

  it('reads nothing after the end of the picture, nor from files that are not PNG', () => {
    assert.equal(readPngText(Buffer.concat([png, chunk('tEXt', 'a\0text')]), ['a']).size, 0);
    for (const file of [Buffer.alloc(0), png.subarray(0, 8), png.subarray(0, 7), Buffer.from('GIF89a')]) {
      assert.equal(readPngText(file, ['a']).size, 0);
    }
  });

  it('returns only intact texts, whatever bytes are changed, removed or doubled', () => {
    const texts = { a: 'a red fox', b: '雪中的红狐', c: 'x'.repeat(500) };
    const file = insertPngText(png, texts);
    const random = randomNumbers(7);
    const pick = (n: number) => Math.floor(random() * n);
    const start = performance.now();
    let intact = 0;
    for (let round = 0; round < 10_000; round++) {
      let mutant = Buffer.from(file);
      for (let change = pick(4); change >= 0; change--) {
        const at = pick(mutant.length);
        const kind = pick(4);
        if (kind === 0) mutant[at] = pick(256);
        else if (kind === 1) mutant = mutant.subarray(0, at);
        else if (kind === 2) mutant = Buffer.concat([mutant.subarray(0, at), mutant.subarray(pick(mutant.length))]);
        else if (mutant.length > 40) mutant.writeUInt32BE(pick(2 ** 32), pick(mutant.length - 4));
        if (mutant.length === 0) break;
      }
      const found = readPngText(mutant, ['a', 'b', 'c']);
      for (const [keyword, text] of found) assert.equal(text, texts[keyword as keyof typeof texts]);
      intact += found.size;
    }
    assert.ok(intact > 1000);
    assert.ok(performance.now() - start < 20_000);
  });
});
