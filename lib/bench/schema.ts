/**
 * The JSON Schema of a benchmark's record, one line of the output of `sana-native bench --output` (record.ts types it).
 */

import { dtypeOfName, publicDtypeNames } from '../base/dtypes.ts';
import { IMPLEMENTATIONS } from './record.ts';

const text = { type: 'string', minLength: 1 } as const;
const count = { type: 'integer', minimum: 1 } as const;
const amount = { type: 'number', minimum: 0 } as const;
const positive = { type: 'number', exclusiveMinimum: 0 } as const;

function object(
  required: Readonly<Record<string, object>>,
  optional: Readonly<Record<string, object>> = {},
  description?: string,
) {
  return {
    type: 'object',
    ...(description !== undefined && { description }),
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  };
}

const described = (description: string, schema: object) => ({ description, ...schema });

export const BENCHMARK_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'A benchmark record of sana-native',
  ...object(
    {
      schema: { const: 1 },
      when: { type: 'string', format: 'date-time' },
      commit: described("of the working tree, with '+' if files differ; for a release its version, v1.2.3", text),
      machine: object(
        { cpu: text, cores: count, node: text },
        { gpu: text, smMhz: positive, driver: text, torch: text, diffusers: text },
      ),
      case: object(
        {
          stage: described('a part of a generation, or op: followed by an operator', {
            type: 'string',
            pattern: '^(text_encode|denoise_step|decode|generate|op:\\w+)$',
          }),
          batch: described('with guidance, twice the images', count),
          dtype: { enum: publicDtypeNames.map(dtypeOfName) },
          acc: described('dtype of the sums', { enum: ['f32', 'f16', 'i32'] }),
        },
        {
          model: text,
          res: described('height and width in pixels', {
            type: 'array',
            items: count,
            minItems: 2,
            maxItems: 2,
          }),
          steps: count,
          threads: count,
          shape: described("an operator's sizes", { type: 'object', additionalProperties: count }),
        },
      ),
      impl: { enum: IMPLEMENTATIONS },
      runs: count,
      warmup: described('runs before the timed ones', { type: 'integer', minimum: 0 }),
      ms: object({ median: positive, min: positive, p90: positive }, {}, 'milliseconds of a run'),
    },
    {
      options: { type: 'object', additionalProperties: { type: ['boolean', 'number', 'string'] } },
      peak_bytes: described('peak memory allocated on the device', { type: 'integer', minimum: 0 }),
      work: object(
        { tflop: amount, gb: amount, floor_ms: amount },
        {},
        'minimum work of a run, and its minimum time on this machine',
      ),
      achieved: object({ tflops: amount, gbps: amount, pct_floor: amount }),
      error: object({ ref: text, rel_l2: amount, max_abs: amount, cos: { type: 'number', minimum: -1, maximum: 1 } }),
      pair: object(
        { with: { enum: IMPLEMENTATIONS }, ratio: positive, ratio_p10: positive, ratio_p90: positive },
        {},
        "the other's time over ours, from alternating runs: above 1, ours is faster",
      ),
    },
  ),
};
