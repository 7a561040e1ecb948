/**
 * A benchmark's record, one line of what `sana-native bench --output` writes: its JSON Schema, and the types, which are
 * derived from it.
 */

import { type DType, dtypeOfName, publicDtypeNames } from '../base/dtypes.ts';
import type { FromSchema } from './json-schema.ts';

export const IMPLEMENTATIONS = [
  'sana-native',
  'torch-eager', // scripts/bench/peer.py: what diffusers does by default
  'torch-compiled', // the same through torch.compile
  'diffusers-eager',
  'diffusers-compiled',
  'torch-best',
  'openvino',
] as const;

/** The parts of a generation that are timed. */
export const stageNames = ['text_encode', 'denoise_step', 'decode', 'generate'] as const;

const computeDtypes = publicDtypeNames.map(dtypeOfName);
const sumDtypes = ['f32', 'f16', 'i32'] as const satisfies readonly DType[];

const text = { type: 'string', minLength: 1 } as const;
const count = { type: 'integer', minimum: 1 } as const;
const countFromZero = { type: 'integer', minimum: 0 } as const;
const amount = { type: 'number', minimum: 0 } as const;
const positive = { type: 'number', exclusiveMinimum: 0 } as const;

type Properties = Readonly<Record<string, object>>;

function object<const Required extends Properties, const Optional extends Properties>(
  required: Required,
  optional: Optional,
) {
  return {
    type: 'object',
    properties: { ...required, ...optional },
    required: Object.keys(required) as readonly (keyof Required)[],
    additionalProperties: false,
  } as const;
}

function described<const Schema extends object>(description: string, schema: Schema) {
  return { description, ...schema };
}

const machine = object(
  { cpu: text, cores: count, node: text },
  { gpu: text, smMhz: positive, driver: text, torch: text, diffusers: described('and transformers', text) },
);

const benchmarkCase = object(
  {
    stage: described('a part of a generation, or op: and the name of an operator in the operator table', {
      anyOf: [{ enum: stageNames }, { type: 'string', pattern: '^op:\\w+$' }],
    }),
    batch: described('with guidance, twice the images', count),
    dtype: { enum: computeDtypes },
    acc: described('what sums are kept in', { enum: sumDtypes }),
  },
  {
    model: text,
    res: described('height and width in pixels', {
      type: 'array',
      prefixItems: [count, count],
      items: false,
      minItems: 2,
      maxItems: 2,
    }),
    steps: count,
    threads: count,
    shape: described("an operator's sizes", { type: 'object', additionalProperties: count }),
  },
);

const work = described(
  "FLOPs and least bytes of one run, and its least time by the machine's ceilings",
  object({ tflop: amount, gb: amount, floor_ms: amount }, {}),
);

const error = described(
  'how far the timed result is from a reference on the same inputs: a time without it is void',
  object({ ref: text, rel_l2: amount, max_abs: amount, cos: { type: 'number', minimum: -1, maximum: 1 } }, {}),
);

const pair = described(
  "the other implementation's time over ours, of runs that alternated: above 1, ours is faster",
  object({ with: { enum: IMPLEMENTATIONS }, ratio: positive, ratio_p10: positive, ratio_p90: positive }, {}),
);

const record = object(
  {
    schema: { const: 1 },
    when: { type: 'string', format: 'date-time' },
    commit: described("of the working tree, with '+' when files differ; of a release its version, v1.2.3", text),
    machine,
    case: benchmarkCase,
    impl: { enum: IMPLEMENTATIONS },
    runs: count,
    warmup: described('runs before, which are not timed', countFromZero),
    ms: described('milliseconds of a run', object({ median: positive, min: positive, p90: positive }, {})),
  },
  {
    options: { type: 'object', additionalProperties: { type: ['boolean', 'number', 'string'] } },
    peak_bytes: described('the most that was allocated on the device', countFromZero),
    work,
    achieved: object({ tflops: amount, gbps: amount, pct_floor: amount }, {}),
    error,
    pair,
  },
);

export const BENCHMARK_SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'A benchmark record of sana-native',
  ...record,
} as const;

export type BenchmarkRecord = FromSchema<typeof record>;
export type Machine = FromSchema<typeof machine>;
export type BenchmarkCase = FromSchema<typeof benchmarkCase>;
export type Work = FromSchema<typeof work>;
export type ResultError = FromSchema<typeof error>;
export type Pairing = FromSchema<typeof pair>;
export type Implementation = (typeof IMPLEMENTATIONS)[number];
export type StageName = (typeof stageNames)[number];
