import assert from 'node:assert/strict';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { testDevice } from '../support/device.ts';
import { fixture } from '../support/files.ts';
import { assertClose, errorOf, tolerances } from '../support/golden.ts';
import { layOver, loadTiny } from '../support/pipelines.ts';
import { assertRun, golden, repeat, requestOf, runOf, runs } from '../support/runs.ts';

function psnr(a: Uint8Array, b: Float32Array): number {
  const { relL2 } = errorOf(a, b);
  const power = b.reduce((sum, x) => sum + x * x, 0) / b.length;
  return 10 * Math.log10(255 ** 2 / (relL2 ** 2 * power));
}

describe('SanaPipeline against recorded runs of the reference', () => {
  let pipe: SanaPipeline;
  before(async () => {
    pipe = await loadTiny();
  });
  after(() => pipe.dispose());

  for (const run of runs.filter(({ tag }) => tag.startsWith('dpm.'))) {
    it(`makes ${run.tag}: every step's latents and the picture`, async () => {
      assertRun(run, await repeat(pipe, run));
    });
  }

  it('makes euler.5 with a FlowMatchEulerDiscreteScheduler checkpoint', async () => {
    const run = runOf('euler.5');
    const folder = layOver('sana-euler');
    try {
      await using euler = await SanaPipeline.fromPretrained(folder.path, { dtype: 'float32', device: testDevice });
      assertRun(run, await repeat(euler, run));
    } finally {
      folder.remove();
    }
    const same = await pipe.generate({ ...requestOf(run), scheduler: 'flow-euler', outputType: 'latent' });
    assertClose(
      same.latents?.data ?? [],
      golden.get('euler.5.step_latents').data.slice(-2048),
      tolerances.pipelineLatents,
    );
  });

  it('makes sana15.5 with a SANA-1.5 checkpoint', async () => {
    const run = runOf('sana15.5');
    const folder = layOver('sana15');
    try {
      await using sana15 = await SanaPipeline.fromPretrained(folder.path, { dtype: 'float32', device: testDevice });
      assertRun(run, await repeat(sana15, run));
    } finally {
      folder.remove();
    }
  });

  it('makes dpm.20 in bfloat16 from a bf16 variant, with a picture of at least 25 dB', async () => {
    const run = runOf('dpm.20');
    const folder = fixture('sana-base-bf16');
    await using bf16 = await SanaPipeline.fromPretrained(folder, {
      dtype: 'bfloat16',
      variant: 'bf16',
      device: testDevice,
    });
    const { steps, images } = await repeat(bf16, run);
    const expected = golden.get('dpm.20.step_latents').data;
    const reference = errorOf(golden.get('dpm.20.final_latents_bf16run').data, expected.slice(-2048)).relL2;
    const { relL2 } = errorOf(steps.at(-1)?.data ?? [], expected.slice(-2048));
    assert(relL2 <= 3 * reference, `final latents rel_l2 ${relL2}, the reference in bf16 ${reference}`);
    const decibels = psnr(images[0] ?? new Uint8Array(), golden.get('dpm.20.image_u8').data);
    assert(decibels >= 25, `PSNR ${decibels} dB`);
  });
});
