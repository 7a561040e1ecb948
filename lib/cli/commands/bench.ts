/** `sana-native bench`: times text encoding, a denoising step, decoding and a whole generation. */

import { Command } from 'commander';
import { dtypeOfName } from '../../base/dtypes.ts';
import { describeCommit, describeMachine, makeRecord, writeRecords } from '../../bench/record.ts';
import { BENCHMARK_SCHEMA, stageNames } from '../../bench/schema.ts';
import { benchRequest, emptyTimes, measureCeilings, timeGeneration, workOf } from '../../bench/stages.ts';
import { LIMITS, SanaPipeline } from '../../index.ts';
import { addFlags, integer, type ModelFlags, modelFlags, modelOf } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { printJson, printLines } from '../output.ts';
import { progressBar, showLoading } from '../progress.ts';

type Flags = ModelFlags & {
  readonly size?: number;
  readonly steps: number;
  readonly runs: number;
  readonly output?: string;
  readonly json?: boolean;
  readonly schema?: boolean;
};

export function benchCommand(): Command {
  const command = new Command('bench').description('time the stages of a generation against the floor of this machine');
  return addFlags(command, modelFlags())
    .option(
      '--size <pixels>',
      "width and height (default: the model's native size)",
      integer(LIMITS.minSize, LIMITS.maxSize),
    )
    .option(
      '--steps <count>',
      'denoising steps of each run; the first two are not timed',
      integer(3, LIMITS.maxSteps),
      5,
    )
    .option('--runs <count>', 'timed runs, after one warm-up run', integer(1, 100), 3)
    .option('--output <file>', 'append the results to a file, one JSON object per line')
    .option('--json', 'print one JSON object on standard output')
    .option('--schema', 'print only the JSON Schema of a result')
    .action(bench);
}

async function bench(flags: Flags): Promise<void> {
  if (flags.schema === true) return await printJson(BENCHMARK_SCHEMA);
  const { model, options } = modelOf(flags);
  const progress = progressBar();
  const records = await interruptible(async (signal) => {
    try {
      await using pipe = await SanaPipeline.fromPretrained(model, {
        ...options,
        signal,
        onProgress: (event) => showLoading(progress, event),
      });
      const { size, steps, runs } = flags;
      const request = size === undefined ? {} : { width: size, height: size, useResolutionBinning: false };
      const explanation = await pipe.explain({ ...benchRequest(), ...request, numInferenceSteps: steps });
      const work = workOf(explanation, await measureCeilings(explanation.device, options.threads));
      const controlled = explanation.stages.some(({ stage }) => stage === 'pictures');
      await timeGeneration(pipe, emptyTimes(), { steps: 1, size, controlled, signal });
      const times = emptyTimes();
      let peakBytes = 0;
      for (let run = 0; run < runs; run++) {
        progress.show('Timing', run / runs);
        ({ peakBytes } = await timeGeneration(pipe, times, { steps, size, controlled, signal }));
      }
      const where = { machine: describeMachine(), commit: describeCommit() };
      return stageNames.map((stage) =>
        makeRecord(
          {
            case: {
              stage,
              model: explanation.model,
              res: [explanation.height, explanation.width],
              batch: 2 * explanation.batch,
              ...(stage === 'generate' && { steps }),
              dtype: dtypeOfName(explanation.dtype),
              acc: explanation.dtype === 'int8' ? 'i32' : 'f32',
            },
            impl: 'sana-native',
            options: { path: explanation.devicePath },
            warmup: 1,
            ms: times[stage],
            peakBytes,
            work: work[stage],
          },
          where,
        ),
      );
    } finally {
      progress.clear();
    }
  });
  if (flags.output !== undefined) writeRecords(flags.output, records);
  if (flags.json === true) await printJson(records);
  else await printLines(table(records));
}

function table(records: readonly ReturnType<typeof makeRecord>[]): string[] {
  return records.map(({ case: { stage }, ms, achieved, work, runs }) =>
    [
      stage.padEnd(14),
      `${ms.median.toFixed(1)} ms`.padStart(12),
      `(min ${ms.min.toFixed(1)}, p90 ${ms.p90.toFixed(1)}, ${runs} runs)`.padEnd(38),
      `${((achieved?.tflops ?? 0) * 1000).toFixed(0)} GFLOP/s`.padStart(13),
      `${(achieved?.pct_floor ?? 0).toFixed(0)} % of the floor ${(work?.floor_ms ?? 0).toFixed(1)} ms`,
    ].join('  '),
  );
}
