import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { binResolution, resizeCropPlan } from '../../lib/models/resolution.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, goldenTensors } from '../support/files.ts';

interface Bins {
  readonly table: Readonly<Record<string, readonly [number, number]>>;
  readonly cases: readonly {
    readonly height: number;
    readonly width: number;
    readonly bin: readonly [number, number];
  }[];
}

describe('resolution', () => {
  const golden: Record<string, Bins> = JSON.parse(readFileSync(fixture('golden', 'resolution_bins.json'), 'utf8'));

  for (const sampleSize of [16, 32, 64, 128]) {
    it(`bins for sample size ${sampleSize} are those of the reference`, () => {
      const { cases, table } = golden[sampleSize] ?? assert.fail();
      assert.ok(cases.length > 0);
      for (const { height, width, bin } of cases) {
        assert.deepEqual(Object.values(binResolution(sampleSize, height, width)), bin, `${height}x${width}`);
      }
      // Every entry is reached, by a size of exactly its ratio.
      for (const [ratio, bin] of Object.entries(table)) {
        const height = Math.round(Number(ratio) * 100);
        assert.deepEqual(Object.values(binResolution(sampleSize, height, 100)), bin, ratio);
      }
    });
  }

  it('binning is not symmetric, and the first of two equally near ratios is used', () => {
    assert.deepEqual(binResolution(32, 960, 1280), { height: 832, width: 1152 });
    assert.deepEqual(binResolution(32, 1280, 960), { height: 1152, width: 896 });
    assert.deepEqual(binResolution(32, 11, 4), { height: 1600, width: 640 }); // 2.75 is as far from 2.5 as from 3
    assert.deepEqual(binResolution(32, 7, 2), { height: 1728, width: 576 }); // 3.5, between 3 and 4
  });

  it('rejects other sample sizes and sides', () => {
    assert.throws(() => binResolution(33, 512, 512), sanaError('ERR_SANA_MODEL', '33'));
    for (const side of [0, -32, 1.5, Number.NaN, 1e9]) {
      assert.throws(() => binResolution(32, side, 512), sanaError('ERR_SANA_ARGUMENT', 'height'));
      assert.throws(() => binResolution(32, 512, side), sanaError('ERR_SANA_ARGUMENT', 'width'));
    }
  });

  it('a plan covers the requested size and centres the crop', () => {
    assert.deepEqual(resizeCropPlan(768, 1344, 1080, 1920), {
      resizedHeight: 1097,
      resizedWidth: 1920,
      top: 8,
      left: 0,
    });
    assert.deepEqual(resizeCropPlan(48, 64, 40, 32), { resizedHeight: 40, resizedWidth: 53, top: 0, left: 10 });
  });

  it('a plan never falls one pixel short, where the reference does', () => {
    // 896 * (960 / 896) is 959.9999999999999.
    assert.deepEqual(resizeCropPlan(832, 1152, 960, 1280), {
      resizedHeight: 960,
      resizedWidth: 1329,
      top: 0,
      left: 24,
    });
    for (let height = 512; height <= 2048; height += 32) {
      for (let width = 512; width <= 2048; width += 32) {
        const bin = binResolution(32, height, width);
        const plan = resizeCropPlan(bin.height, bin.width, height, width);
        assert.ok(plan.top >= 0 && plan.top + height <= plan.resizedHeight, `${height}x${width}`);
        assert.ok(plan.left >= 0 && plan.left + width <= plan.resizedWidth, `${height}x${width}`);
      }
    }
  });

  it('following the plan gives the pictures of the reference', async () => {
    const golden = await goldenTensors('image_ops');
    const input = golden.get('in') ?? assert.fail();
    let compared = 0;
    for (const [height, width] of [
      [32, 40],
      [40, 32],
      [48, 64],
      [96, 100],
    ] as const) {
      const expected = golden.get(`resize_crop.${height}x${width}`) ?? assert.fail();
      const plan = resizeCropPlan(48, 64, height, width);
      for (let i = 0; i < expected.data.length; i++) {
        const [x, y, channel] = [i % width, Math.floor(i / width) % height, Math.floor(i / width / height)];
        const found = bilinear(input.data as Float32Array, channel, plan, y + plan.top, x + plan.left);
        assert.ok(Math.abs(found - (expected.data[i] ?? NaN)) < 1e-5, `${height}x${width} at ${i}`);
        compared++;
      }
    }
    assert.equal(compared, 3 * (32 * 40 + 40 * 32 + 48 * 64 + 96 * 100));
  });
});

/** One value of a 48 x 64 image resized to the plan's size, pixel centres aligned, no antialias. */
function bilinear(
  image: Float32Array,
  channel: number,
  plan: { resizedHeight: number; resizedWidth: number },
  y: number,
  x: number,
): number {
  const along = (at: number, from: number, to: number): [number, number, number] => {
    const source = Math.max(0, ((at + 0.5) * from) / to - 0.5);
    const low = Math.floor(source);
    return [low, Math.min(low + 1, from - 1), source - low];
  };
  const [y0, y1, fy] = along(y, 48, plan.resizedHeight);
  const [x0, x1, fx] = along(x, 64, plan.resizedWidth);
  const pixel = (row: number, column: number) => image[(channel * 48 + row) * 64 + column] ?? NaN;
  const row = (at: number) => (1 - fx) * pixel(at, x0) + fx * pixel(at, x1);
  return (1 - fy) * row(y0) + fy * row(y1);
}
