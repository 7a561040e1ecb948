import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GenerateRequest, TensorLike } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { assertClose, errorOf, fixtures, GoldenFile, tolerances } from '../support/golden.ts';

interface Run {
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
}

const golden = new GoldenFile('pipeline');
const runs: Run[] = JSON.parse(readFileSync(join(fixtures, 'golden/pipeline_runs.json'), 'utf8'));

function requestOf(run: Run): GenerateRequest {
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
    latents: golden.get(`${run.tag}.in.latents`),
  };
}

/** The latents after every step, and the pictures. */
async function generate(pipe: SanaPipeline, run: Run): Promise<{ steps: TensorLike[]; images: Uint8Array[] }> {
  const steps: TensorLike[] = [];
  const { images } = await pipe.generate({
    ...requestOf(run),
    onStep: async (step) => {
      steps.push(await step.latents());
    },
  });
  return { steps, images: images.map(({ data }) => data) };
}

function assertRun(run: Run, { steps, images }: Awaited<ReturnType<typeof generate>>): void {
  if (golden.has(`${run.tag}.step_latents`)) {
    const expected = golden.get(`${run.tag}.step_latents`).data;
    const size = expected.length / run.steps;
    for (let i = 0; i < run.steps; i++) {
      const step = expected.subarray(i * size, (i + 1) * size);
      assertClose(steps[i]?.data ?? [], step, tolerances.pipelineLatents, `step ${i + 1}`);
    }
  } else {
    const expected = golden.get(`${run.tag}.final_latents`).data;
    assertClose(steps.at(-1)?.data ?? [], expected, tolerances.pipelineLatents, 'final latents');
  }
  if (!golden.has(`${run.tag}.image_u8`)) return;
  const { shape, data } = golden.get(`${run.tag}.image_u8`);
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

function psnr(a: Uint8Array, b: Float32Array): number {
  const { relL2 } = errorOf(a, b);
  const power = b.reduce((sum, x) => sum + x * x, 0) / b.length;
  return 10 * Math.log10(255 ** 2 / (relL2 ** 2 * power));
}

describe('SanaPipeline against recorded runs of the reference', () => {
  let scratch: string;
  let pipe: SanaPipeline;
  before(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'sana-golden-'));
    pipe = await SanaPipeline.fromPretrained(join(fixtures, 'sana-base'), { dtype: 'float32', device: 'cpu' });
  });
  after(async () => {
    await pipe.dispose();
    rmSync(scratch, { recursive: true });
  });

  for (const run of runs.filter(({ tag }) => tag.startsWith('dpm.'))) {
    it(`makes ${run.tag}: every step's latents and the picture`, async () => {
      assertRun(run, await generate(pipe, run));
    });
  }

  it('makes euler.5 with a FlowMatchEulerDiscreteScheduler checkpoint', async () => {
    const run = runs.find(({ tag }) => tag === 'euler.5') ?? assert.fail();
    const folder = join(scratch, 'sana-euler');
    cpSync(join(fixtures, 'sana-base'), folder, { recursive: true });
    cpSync(join(fixtures, 'sana-euler'), folder, { recursive: true });
    await using euler = await SanaPipeline.fromPretrained(folder, { dtype: 'float32', device: 'cpu' });
    assertRun(run, await generate(euler, run));
    const same = await pipe.generate({ ...requestOf(run), scheduler: 'flow-euler', outputType: 'latent' });
    assertClose(
      same.latents?.data ?? [],
      golden.get('euler.5.step_latents').data.slice(-2048),
      tolerances.pipelineLatents,
    );
  });

  it('makes dpm.20 in bfloat16 from a bf16 variant, with a picture of at least 25 dB', async () => {
    const run = runs.find(({ tag }) => tag === 'dpm.20') ?? assert.fail();
    const folder = join(fixtures, 'sana-base-bf16');
    await using bf16 = await SanaPipeline.fromPretrained(folder, { dtype: 'bfloat16', variant: 'bf16', device: 'cpu' });
    const { steps, images } = await generate(bf16, run);
    const expected = golden.get('dpm.20.step_latents').data;
    const reference = errorOf(golden.get('dpm.20.final_latents_bf16run').data, expected.slice(-2048)).relL2;
    const { relL2 } = errorOf(steps.at(-1)?.data ?? [], expected.slice(-2048));
    assert(relL2 <= 3 * reference, `final latents rel_l2 ${relL2}, the reference in bf16 ${reference}`);
    const decibels = psnr(images[0] ?? new Uint8Array(), golden.get('dpm.20.image_u8').data);
    assert(decibels >= 25, `PSNR ${decibels} dB`);
  });
});
