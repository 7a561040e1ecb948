/** Times the stages of a generation through the public pipeline, and compares each with its floor. */

import { SanaError } from '../base/errors.ts';
import { openDevice } from '../device/devices.ts';
import type { SanaPipeline } from '../pipeline/pipeline.ts';
import type { ExplainedStage, Explanation, GenerationStage } from '../pipeline/results.ts';
import { type Ceilings, totalFloorMs } from './roofline.ts';
import type { StageName, Work } from './schema.ts';

/** Milliseconds of every run of each stage. */
export type StageTimes = Record<StageName, number[]>;

/**
 * What is timed: a prompt of about 40 tokens, a short negative prompt, guidance on. Both differ from run to run,
 * because a pipeline caches encoded prompts and a second time would cost nothing.
 */
export function benchRequest(run = 0) {
  const number = String(100 + (run % 900));
  return {
    prompt:
      'a red fox sitting in deep snow at the edge of a pine forest, soft morning light, detailed fur, shallow depth of ' +
      `field, photograph, gentle falling snowflakes, calm and quiet mood, ${number}`,
    negativePrompt: number,
    seed: 7,
  };
}

let runs = 0; // so far in this process

/** Steps of a generation that are not timed: in the first ones, caches and branch predictors are cold. */
const coldSteps = 2;

/** For models with a ControlNet. The content of a picture does not change the work. */
const blank = { width: 32, height: 32, data: new Uint8Array(32 * 32 * 3) };

/** Runs one generation of `steps` steps and adds the times of its stages; `controlled`: the model has a ControlNet. */
export async function timeGeneration(
  pipe: SanaPipeline,
  times: StageTimes,
  options: { steps: number; size?: number | undefined; controlled?: boolean; signal?: AbortSignal | undefined },
): Promise<{ peakBytes: number }> {
  const { steps, size, controlled = false, signal } = options;
  const { timings, memory } = await pipe.generate({
    ...benchRequest(++runs),
    numInferenceSteps: steps,
    ...(size !== undefined && { width: size, height: size, useResolutionBinning: false }),
    ...(controlled && { controlImage: blank }),
    ...(signal && { signal }),
  });
  times.text_encode.push(timings.textMs);
  times.denoise_step.push(...timings.stepMs.slice(Math.min(coldSteps, steps - 1)));
  times.decode.push(timings.decodeMs);
  times.generate.push(timings.totalMs);
  return memory;
}

export function emptyTimes(): StageTimes {
  return { text_encode: [], denoise_step: [], decode: [], generate: [] };
}

/** FLOPs, bytes and floor of each stage; what is cached from an earlier run (the instruction) is not counted. */
export function workOf(explanation: Explanation, ceilings: Ceilings): Record<StageName, Work> {
  const programs = explanation.stages.filter(({ name }) => name !== 'instruction');
  const sum = (parts: readonly GenerationStage[]) => work(programs.filter(({ stage }) => parts.includes(stage)));
  const work = (counted: readonly ExplainedStage[], repeated = true): Work => {
    const total = (of: (program: ExplainedStage) => number) =>
      counted.reduce((all, program) => all + of(program) * (repeated ? program.runs : 1), 0);
    return {
      tflop: total(({ flops }) => flops) / 1e12,
      gb: total(({ bytes }) => bytes) / 1e9,
      floor_ms: total(({ operators }) => totalFloorMs(operators, ceilings)),
    };
  };
  return {
    text_encode: sum(['text']),
    denoise_step: work(
      programs.filter(({ name }) => name === 'denoise_step'),
      false,
    ),
    decode: sum(['decode']),
    generate: work(programs),
  };
}

/** The ceilings of a pipeline's device, measured now. */
export async function measureCeilings(device: string, threads?: number): Promise<Ceilings> {
  const lease = openDevice(device, threads);
  try {
    return await lease.native.ceilings();
  } catch (cause) {
    throw new SanaError('ERR_SANA_DEVICE', `The ceilings of ${device} could not be measured`, {
      hint: 'Run the benchmark on an idle machine with memory to spare.',
      cause,
    });
  } finally {
    lease.release();
  }
}
