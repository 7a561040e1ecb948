import assert from 'node:assert/strict';
import { highestBand, lowestBand, tallestBands } from '../../lib/models/band-height.ts';

/** Bands of a map whose rows need 10 bytes each, plus 500 bytes for the layers that need all of it. */
function chosen(freeBytes: number, mapRows = 128): number | undefined {
  const bytesOf = (rows: number) => Math.max(500, 100 + 10 * rows);
  return tallestBands(mapRows, freeBytes, (bandRows) => ({ bandRows, bytes: bytesOf(bandRows ?? mapRows) })).bandRows;
}

describe('the height of bands', () => {
  it('is that of the whole map when that fits', () => {
    assert.equal(chosen(Number.POSITIVE_INFINITY), undefined);
    assert.equal(chosen(1380 * (8 / 7) + 1), undefined);
  });

  it('is at most as high as needed to be fast, however much fits', () => {
    for (const [mapRows, rows] of [
      [129, 65],
      [256, 128],
      [512, 128],
      [700, 88],
    ] as const) {
      assert.equal(chosen(Number.POSITIVE_INFINITY, mapRows), rows);
      assert.ok(rows <= highestBand);
    }
  });

  it('is the largest half, quarter, ... that fits, with an eighth of the memory left free', () => {
    assert.equal(chosen(1380), 64);
    assert.equal(chosen(740 * (8 / 7) + 1), 64);
    assert.equal(chosen(740), 32);
    assert.equal(chosen(2000, 512), 128);
    assert.equal(chosen(1000, 512), 64);
  });

  it('is not lowered further if that saves nothing', () => {
    for (const freeBytes of [500, 100, 0, -1000]) assert.equal(chosen(freeBytes), 32);
  });

  it('ends at the lowest band, though less would need less', () => {
    const plan = (bandRows: number | undefined) => ({ bandRows, bytes: bandRows ?? 100 });
    assert.equal(tallestBands(100, 1, plan).bandRows, lowestBand);
    assert.equal(tallestBands(lowestBand, 1, plan).bandRows, undefined);
  });
});
