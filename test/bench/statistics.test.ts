import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeCommit, describeMachine, type Measurement, makeRecord, writeRecords } from '../../lib/bench/record.ts';
import { floorMs, totalFloorMs } from '../../lib/bench/roofline.ts';
import { pairRatios, quantile, summarize } from '../../lib/bench/statistics.ts';

describe('bench statistics', () => {
  it('interpolates quantiles between neighbours, in any order of the values', () => {
    assert.equal(quantile([5], 0.9), 5);
    assert.equal(quantile([40, 10, 30, 20], 0.5), 25);
    assert.equal(quantile([3, 1, 2], 0), 1);
    assert.equal(quantile([3, 1, 2], 1), 3);
    assert.equal(quantile([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 0.9), 90);
    assert.equal(quantile([0, 10], 0.1), 1);
    assert.equal(quantile([10, 9, 100], 0.5), 10); // as numbers, not as text
  });

  it('rejects quantiles of empty lists, of NaN and outside 0 to 1', () => {
    assert.throws(() => quantile([], 0.5), { code: 'ERR_SANA_ARGUMENT' });
    assert.throws(() => quantile([1, Number.NaN], 0.5), { code: 'ERR_SANA_ARGUMENT' });
    assert.throws(() => quantile([1], 1.5), { code: 'ERR_SANA_ARGUMENT' });
  });

  it('leaves the times it is given in their order', () => {
    const times = [3, 1, 2];
    assert.deepEqual(summarize(times), { median: 2, min: 1, p90: 2.8 });
    assert.deepEqual(times, [3, 1, 2]);
  });

  it('pairs runs before it takes the median, so that a machine that slows down cancels', () => {
    const a = [10, 20, 40]; // the machine became four times slower
    const b = [5, 10, 20];
    assert.deepEqual(pairRatios(a, b), { ratio: 2, ratio_p10: 2, ratio_p90: 2 });
    const spread = pairRatios([2, 4, 6], [1, 1, 1]);
    assert.equal(spread.ratio, 4);
    assert.ok(Math.abs(spread.ratio_p10 - 2.4) < 1e-12 && Math.abs(spread.ratio_p90 - 5.6) < 1e-12);
    // Each ratio is 1 or 100: the medians of the two sides would say 1.
    assert.equal(pairRatios([1, 100, 100], [1, 1, 100]).ratio, 1);
    assert.equal(pairRatios([100, 100, 1], [1, 1, 100]).ratio, 100);
  });

  it('rejects pairs of series of different lengths or with a time of zero', () => {
    assert.throws(() => pairRatios([1, 2], [1]), { code: 'ERR_SANA_ARGUMENT' });
    assert.throws(() => pairRatios([1], [0]), { code: 'ERR_SANA_ARGUMENT' });
    assert.throws(() => pairRatios([], []), { code: 'ERR_SANA_ARGUMENT' });
  });
});

describe('bench roofline', () => {
  const ceilings = { f32Flops: 500e9, bf16Flops: 1000e9, i8Flops: 4000e9, bytesPerSecond: 40e9 };

  it('takes the ceiling that binds', () => {
    assert.equal(floorMs({ dtype: 'f32', flops: 5e9, bytes: 4e6 }, ceilings), 10);
    assert.equal(floorMs({ dtype: 'bf16', flops: 5e9, bytes: 4e6 }, ceilings), 5);
    assert.equal(floorMs({ dtype: 'i8', flops: 5e9, bytes: 4e6 }, ceilings), 1.25);
    assert.equal(floorMs({ dtype: 'i8', flops: 5e9, bytes: 8e8 }, ceilings), 20);
  });

  it('adds the floors of parts, not their work', () => {
    const parts = [
      { dtype: 'f32', flops: 5e9, bytes: 0 },
      { dtype: 'i8', flops: 0, bytes: 4e8 },
    ];
    assert.equal(totalFloorMs(parts, ceilings), 20);
    assert.equal(floorMs({ dtype: 'f32', flops: 5e9, bytes: 4e8 }, ceilings), 10);
  });
});

describe('bench record', () => {
  const measurement: Measurement = {
    case: { stage: 'denoise_step', model: '0.6B', res: [512, 512], batch: 2, dtype: 'bf16', acc: 'f32', threads: 2 },
    impl: 'sana-native',
    warmup: 1,
    ms: [1000, 500, 600],
    work: { tflop: 0.6, gb: 12, floor_ms: 300 },
    error: { ref: 'torch-eager f32', rel_l2: 0.01, max_abs: 0.1, cos: 0.9999 },
    pair: { with: 'torch-eager', ratio: 2, ratio_p10: 1.9, ratio_p90: 2.1 },
  };
  const where = { machine: describeMachine({ torch: '2.13' }), commit: 'abc', when: new Date(0) };

  it('derives the summary and what was achieved from the runs', () => {
    const record = makeRecord(measurement, where);
    assert.deepEqual(record.ms, { median: 600, min: 500, p90: 920 });
    assert.deepEqual(record.achieved, { tflops: 1, gbps: 20, pct_floor: 50 });
    assert.equal(record.runs, 3);
    assert.equal(record.when, '1970-01-01T00:00:00.000Z');
    assert.equal(record.machine.torch, '2.13');
    assert.equal(record.machine.cores, cpus().length);
  });

  it('leaves out what was not measured', () => {
    const { work, error, pair, ...bare } = measurement;
    const record = makeRecord(bare, where);
    assert.deepEqual(Object.keys(record).sort(), 'case commit impl machine ms runs schema warmup when'.split(' '));
  });

  it('appends one JSON object a line', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sana-record-'));
    try {
      const path = join(folder, 'runs.jsonl');
      const record = makeRecord(measurement, where);
      writeRecords(path, [record]);
      writeRecords(path, [record, { ...record, runs: 9 }]);
      const lines = readFileSync(path, 'utf8').split('\n');
      assert.equal(lines.pop(), '');
      assert.deepEqual(
        lines.map((line) => JSON.parse(line)),
        [record, record, { ...record, runs: 9 }],
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('names the commit it ran on', () => {
    assert.match(describeCommit(), /^([0-9a-f]{12}\+?|unknown)$/);
  });
});
