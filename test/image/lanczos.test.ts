import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { resizeLanczos } from '../../lib/image/lanczos.ts';

/** The same numbers as what Pillow 12.3 was given. */
const picture = {
  width: 97,
  height: 61,
  data: Uint8Array.from({ length: 97 * 61 * 3 }, (_, i) => Math.imul(i * i + 7 * i + 3, 2654435761) >>> 24),
};

/** SHA-256 of what `Image.resize(size, Image.LANCZOS)` of Pillow 12.3 makes of it. */
const recorded: readonly [width: number, height: number, sha256: string][] = [
  [33, 200, 'fd8f1cb53ce92ba166237d7ab143326abc93f2376f66ff94371e2dea19f3451e'],
  [200, 97, '568a74641db7d048f6fc1e424db9df8c926607c1718ead3b96651a5c7ddeb14c'],
  [97, 30, '846b9429c7c138bc82f615679cee66cf99c07435f5e4c52090f3ccd92c88417c'],
  [40, 61, 'a3e3dcac66d575e99708417f03bfde024a168bb04f6fb3786847a06e40a8ca2f'],
  [1, 1, '7df49f7e157e510c6d497924b7fda30ebede5c987e76bd226e7a834e0967313b'],
  [500, 7, '2333eb8c7fd28839c1afed93554394ca84e2478503828e88ae8bf96289ea1e15'],
];

/** One row, a white pixel on black, enlarged and shrunk. */
async function row(pixels: number, white: number, width: number): Promise<number[]> {
  const data = new Uint8Array(pixels * 3).fill(255, white * 3, white * 3 + 3);
  const resized = await resizeLanczos({ width: pixels, height: 1, data }, { width, height: 1 });
  return [...resized.data].filter((_, i) => i % 3 === 0);
}

describe('Lanczos resampling', () => {
  it('keeps the centre of a pixel in place, like Pillow', async () => {
    assert.deepEqual(await row(10, 5, 20), [0, 0, 0, 0, 0, 2, 8, 0, 0, 69, 228, 228, 69, 0, 0, 8, 2, 0, 0, 0]);
    assert.deepEqual(await row(10, 5, 15), [0, 0, 0, 0, 6, 0, 0, 156, 243, 43, 0, 6, 1, 0, 0]);
    assert.deepEqual(await row(10, 5, 5), [4, 0, 115, 34, 0]);
  });

  for (const [width, height, sha256] of recorded) {
    it(`makes the bytes that Pillow makes: 97 x 61 to ${width} x ${height}`, async () => {
      const resized = await resizeLanczos(picture, { width, height });
      assert.deepEqual([resized.width, resized.height], [width, height]);
      assert.equal(createHash('sha256').update(resized.data).digest('hex'), sha256);
    });
  }

  it('leaves a picture of that size alone, and one of one colour that colour', async () => {
    assert.deepEqual(await resizeLanczos(picture, picture), picture);
    const flat = { width: 7, height: 5, data: new Uint8Array(105).fill(200) };
    const { data } = await resizeLanczos(flat, { width: 31, height: 3 });
    assert.ok(data.every((byte) => byte === 200));
  });

  it('yields to the event loop, and stops if it is aborted', async () => {
    const large = { width: 1500, height: 1000, data: new Uint8Array(1500 * 1000 * 3) };
    const controller = new AbortController();
    const reason = new Error('changed my mind');
    setImmediate(() => controller.abort(reason));
    await assert.rejects(resizeLanczos(large, { width: 1024, height: 1024 }, controller.signal), reason);
  });
});
