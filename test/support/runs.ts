/** The recorded runs of the reference, the requests that repeat them, and how close a repetition must come. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { GenerateRequest, TensorLike } from '../../lib/index.ts';
import type { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { assertClose, fixtures, GoldenFile, tolerances } from './golden.ts';

export interface Run {
  readonly tag: string;
  readonly prompts: string[];
  readonly negative_prompt: string;
  readonly steps: number;
  readonly guidance_scale: number;
  readonly height: number;
  readonly width: number;
  readonly max_sequence_length: number;
  readonly use_resolution_binning: boolean;
  readonly complex_human_instruction?: string[] | null;
  readonly controlnet_conditioning_scale?: number;
}

export const golden = new GoldenFile('pipeline');
export const runs: Run[] = JSON.parse(readFileSync(join(fixtures, 'golden/pipeline_runs.json'), 'utf8'));

/** `recorded` has the run. */
export function requestOf(run: Run, recorded = golden): GenerateRequest {
  return {
    prompt: run.prompts,
    negativePrompt: run.negative_prompt,
    numInferenceSteps: run.steps,
    guidanceScale: run.guidance_scale,
    height: run.height,
    width: run.width,
    maxSequenceLength: run.max_sequence_length,
    useResolutionBinning: run.use_resolution_binning,
    ...('complex_human_instruction' in run && { complexHumanInstruction: run.complex_human_instruction ?? null }),
    latents: recorded.get(`${run.tag}.in.latents`),
  };
}

/** Carries out a request, by default that of a run: the latents after every step, and the pictures. */
export async function repeat(
  pipe: SanaPipeline,
  run: Run,
  request = requestOf(run),
): Promise<{ steps: TensorLike[]; images: Uint8Array[] }> {
  const steps: TensorLike[] = [];
  const { images } = await pipe.generate({
    ...request,
    onStep: async (step) => {
      steps.push(await step.latents());
    },
  });
  return { steps, images: images.map(({ data }) => data) };
}

export function assertRun(run: Run, { steps, images }: Awaited<ReturnType<typeof repeat>>, recorded = golden): void {
  if (recorded.has(`${run.tag}.step_latents`)) {
    const expected = recorded.get(`${run.tag}.step_latents`).data;
    const size = expected.length / run.steps;
    for (let i = 0; i < run.steps; i++) {
      const step = expected.subarray(i * size, (i + 1) * size);
      assertClose(steps[i]?.data ?? [], step, tolerances.pipelineLatents, `step ${i + 1}`);
    }
  } else {
    const expected = recorded.get(`${run.tag}.final_latents`).data;
    assertClose(steps.at(-1)?.data ?? [], expected, tolerances.pipelineLatents, 'final latents');
  }
  if (!recorded.has(`${run.tag}.image_u8`)) return;
  const { shape, data } = recorded.get(`${run.tag}.image_u8`);
  assert.deepEqual([images.length, run.height, run.width, 3], shape);
  const actual = Buffer.concat(images);
  let off = 0;
  for (let i = 0; i < data.length; i++) {
    const distance = Math.abs((actual[i] ?? 0) - (data[i] ?? 0));
    assert(distance <= 1, `byte ${i} is ${distance} levels off`);
    off += distance;
  }
  assert(off <= data.length / 100, `${off} of ${data.length} bytes are one level off`);
}

export const runOf = (tag: string): Run => runs.find((run) => run.tag === tag) ?? assert.fail(`no run ${tag}`);
