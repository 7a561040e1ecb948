import assert from 'node:assert/strict';
import { lowestBand, tallestBands } from '../../lib/pipeline/band-height.ts';

/** Bands of a map of 512 rows, of which each row needs 10 bytes, beside 500 bytes for the layers that see all of it. */
function chosen(freeBytes: number): number | undefined {
  const bytesOf = (rows: number) => Math.max(500, 100 + 10 * rows);
  return tallestBands(512, freeBytes, (bandRows) => ({ bandRows, bytes: bytesOf(bandRows ?? 512) })).bandRows;
}

describe('the height of bands', () => {
  it('is that of the whole map when that fits', () => {
    assert.equal(chosen(Number.POSITIVE_INFINITY), undefined);
    assert.equal(chosen(5220 * (8 / 7) + 1), undefined);
  });

  it('is the largest half, quarter, ... that fits, with an eighth of the memory left free', () => {
    assert.equal(chosen(5220), 256);
    assert.equal(chosen(2660 * (8 / 7) + 1), 256);
    assert.equal(chosen(2660), 128);
    assert.equal(chosen(1000), 64);
  });

  it('is not lowered any more where that saves nothing', () => {
    assert.deepEqual([600, 100, 0, -1000].map(chosen), [32, 32, 32, 32]);
  });

  it('ends at the lowest band, though less would need less', () => {
    const plan = (bandRows: number | undefined) => ({ bandRows, bytes: bandRows ?? 100 });
    assert.equal(tallestBands(100, 1, plan).bandRows, lowestBand);
    assert.equal(tallestBands(lowestBand, 1, plan).bandRows, undefined);
  });
});
