import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { packageRoot } from '../../lib/base/package.ts';
import { describeMachine, makeRecord } from '../../lib/bench/record.ts';
import { BENCHMARK_SCHEMA } from '../../lib/bench/schema.ts';
import { sanaNative } from '../support/cli.ts';

describe('the schema of benchmark records', () => {
  const date = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
  const valid = new Ajv2020({
    strict: true,
    allErrors: true,
    allowUnionTypes: true,
    formats: { 'date-time': date },
  }).compile(BENCHMARK_SCHEMA);
  const problems = (record: unknown) =>
    valid(record) ? [] : (valid.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);

  for (const file of ['cpu-0.6b-512.jsonl', 'cpu-0.6b-avx2.jsonl', 'cpu-operators.jsonl']) {
    it(`is kept by docs/measurements/${file}`, () => {
      const lines = readFileSync(join(packageRoot, 'docs', 'measurements', file), 'utf8')
        .trim()
        .split('\n');
      assert.ok(lines.length > 0);
      for (const line of lines) assert.deepEqual(problems(JSON.parse(line)), [], line);
    });
  }

  it('is kept by what is written, with all there can be, and broken by what is not known or wrong', () => {
    const full = makeRecord(
      {
        case: {
          stage: 'decode',
          model: 'sana',
          res: [512, 256],
          batch: 2,
          steps: 3,
          dtype: 'f16',
          acc: 'f32',
          threads: 2,
          shape: { m: 1 },
        },
        impl: 'sana-native',
        options: { path: 'sm_90', graph: true },
        warmup: 1,
        ms: [1, 2],
        peakBytes: 5,
        work: { tflop: 1, gb: 1, floor_ms: 1 },
        error: { ref: 'torch', rel_l2: 0, max_abs: 0, cos: 1 },
        pair: { with: 'torch-eager', ratio: 1, ratio_p10: 1, ratio_p90: 1 },
      },
      { machine: describeMachine({ gpu: 'card', driver: '580', smMhz: 1500, torch: '2' }), commit: 'v0.1.0' },
    );
    assert.deepEqual(problems(full), []);
    for (const wrong of [
      { ...full, more: 1 },
      { ...full, runs: 0 },
      { ...full, when: 'yesterday' },
      { ...full, case: { ...full.case, stage: 'op:' } },
      { ...full, ms: { ...full.ms, median: '1' } },
    ]) {
      assert.equal(problems(wrong).length > 0, true, JSON.stringify(wrong));
    }
  });

  it('is printed, and kept by a run of the command line', async function () {
    this.timeout(120_000);
    const printed = await sanaNative(['bench', '--schema']);
    assert.deepEqual(JSON.parse(printed.stdout.toString()), JSON.parse(JSON.stringify(BENCHMARK_SCHEMA)));
    const { code, stdout } = await sanaNative(['bench', '--steps', '3', '--runs', '1', '--json', '--size', '64']);
    assert.equal(code, 0);
    const records: { commit: string }[] = JSON.parse(stdout.toString());
    assert.equal(records.length, 4);
    for (const record of records) assert.deepEqual(problems(record), []);
  });
});
