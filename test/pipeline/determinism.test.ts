import assert from 'node:assert/strict';
import type { GenerateRequest } from '../../lib/index.ts';
import { torchRandn } from '../../lib/pipeline/noise.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { fixture } from '../support/files.ts';
import { errorOf } from '../support/golden.ts';
import { cpuPaths, loadTiny, onCpuPath, pictures, small, supportsCpuPath } from '../support/pipelines.ts';
import { assertRun, golden, repeat, runOf } from '../support/runs.ts';

const prompts = ['a red fox in snow', 'a much longer prompt, of a lighthouse by the sea at night', 'x'];

for (const dtype of ['float32', 'bfloat16', 'int8'] as const) {
  describe(`the same seed gives the same bytes, in ${dtype}`, () => {
    let pipe: SanaPipeline;
    before(async () => {
      pipe = await loadTiny({ dtype });
    });
    after(() => pipe.dispose());

    const draw = async (request: Partial<GenerateRequest> = {}, using = pipe) =>
      pictures(await using.generate({ ...small, ...request }));

    it('run to run, and other bytes for another seed, prompt, size or number of steps', async () => {
      const [first] = await draw();
      for (const other of [{ seed: 8 }, { prompt: 'x' }, { width: 64 }, { numInferenceSteps: 3 }]) {
        assert.notDeepEqual(await draw(other), [first], JSON.stringify(other));
      }
      assert.deepEqual(await draw(), [first]);
      await using again = await loadTiny({ dtype });
      assert.deepEqual(await draw({}, again), [first]);
    });

    it('for any number of threads', async () => {
      const request = { prompt: prompts, width: 256, height: 192, numInferenceSteps: 3 };
      const expected = await draw(request);
      for (const threads of [1, 2, 3]) {
        await using other = await loadTiny({ dtype, threads });
        assert.deepEqual(await draw(request, other), expected, `${threads} threads`);
      }
    });

    it('alone or among the images of a prompt, whatever the others are', async () => {
      const together = await draw({ seed: 7, numImagesPerPrompt: 3 });
      for (const [i, picture] of together.entries()) assert.deepEqual(await draw({ seed: 7 + i }), [picture]);
      assert.deepEqual(await draw({ seed: [9, 7n], numImagesPerPrompt: 2 }), [together[2], together[0]]);
      assert.equal(new Set(together).size, 3);
    });

    it('alone or among several prompts, with their negative prompts', async () => {
      const negativePrompt = ['blurry', '', 'green, and blue as well'];
      const seed = [3, 4, 2n ** 64n - 1n, 6, 0, 3];
      const together = await draw({ prompt: prompts, negativePrompt, seed, numImagesPerPrompt: 2 });
      for (const [i, picture] of together.entries()) {
        const one = Math.floor(i / 2);
        const request = { prompt: prompts[one] ?? '', negativePrompt: negativePrompt[one] ?? '', seed: seed[i] ?? 0 };
        assert.deepEqual(await draw(request), [picture], `image ${i}`);
      }
    });

    it('alone or among several prompts without guidance', async () => {
      const together = await draw({ prompt: prompts, guidanceScale: 1 });
      for (const [i, picture] of together.entries()) {
        assert.deepEqual(await draw({ prompt: prompts[i] ?? '', seed: 7 + i, guidanceScale: 1 }), [picture]);
      }
    });

    for (const offload of ['text-encoder', 'sequential'] as const) {
      it(`with offload '${offload}', in a first call and in later ones`, async () => {
        await using other = await loadTiny({ dtype, offload });
        const request = { prompt: prompts, numImagesPerPrompt: 2 };
        for (let call = 0; call < 2; call++) assert.deepEqual(await draw(request, other), await draw(request));
      });
    }

    it("from the seed's noise, given as latents", async () => {
      const latents = { data: torchRandn(small.seed, 32 * 3 * 2), shape: [1, 32, 2, 3] };
      assert.deepEqual(await draw({ latents, seed: 1 }), await draw());
    });

    it('through latents: their decoded picture is the one that generate makes', async () => {
      const { latents } = await pipe.generate({ ...small, outputType: 'latent' });
      assert.ok(latents);
      const scale = Math.fround(1 / 0.41407); // of the autoencoder's configuration
      const scaled = latents.data.map((x) => x * scale);
      const decoded = await pipe.autoencoder.decode({ data: scaled, shape: latents.shape });
      const pixels = 96 * 64;
      const bytes = Uint8Array.from({ length: 3 * pixels }, (_, i) =>
        toByte(decoded.data[(i % 3) * pixels + Math.floor(i / 3)] ?? Number.NaN),
      );
      assert.deepEqual((await pipe.generate(small)).images[0]?.data, bytes);
      // Decoding is deterministic itself, alone or in a batch.
      const twice = { data: Float32Array.of(...scaled, ...scaled), shape: [2, ...latents.shape.slice(1)] };
      assert.deepEqual((await pipe.autoencoder.decode(twice)).data.slice(decoded.data.length), decoded.data);
    });
  });
}

/** A value in [-1, 1] as a level, rounded in f32 and half to even as the reference does. */
function toByte(value: number): number {
  const level = Math.fround(Math.min(1, Math.max(0, Math.fround(value / 2 + 0.5))) * 255);
  const down = Math.floor(level);
  if (level - down !== 0.5) return Math.round(level);
  return down % 2 === 0 ? down : down + 1;
}

describe('every code path of the CPU draws the recorded picture', () => {
  for (const path of cpuPaths) {
    it(`${path}, in float32`, async function () {
      if (!supportsCpuPath(path)) {
        console.log(`      skipped: this machine has no ${path}`);
        this.skip();
      }
      const run = runOf('dpm.rect');
      await using pipe = await onCpuPath(path, () => loadTiny());
      const made = await repeat(pipe, run);
      assertRun(run, made);
      const { images } = await pipe.generate(small);
      assert.equal(images[0]?.parameters.devicePath, path);
    });

    it(`${path}, in bfloat16 within three times the reference's own error`, async function () {
      if (!supportsCpuPath(path)) this.skip();
      const run = runOf('dpm.20');
      const options = { dtype: 'bfloat16', variant: 'bf16', device: 'cpu' } as const;
      await using pipe = await onCpuPath(path, () => SanaPipeline.fromPretrained(fixture('sana-base-bf16'), options));
      const { steps } = await repeat(pipe, run);
      const expected = golden.get('dpm.20.step_latents').data.slice(-2048);
      const reference = errorOf(golden.get('dpm.20.final_latents_bf16run').data, expected).relL2;
      const { relL2 } = errorOf(steps.at(-1)?.data ?? [], expected);
      assert.ok(relL2 <= 3 * reference, `final latents rel_l2 ${relL2}, the reference in bf16 ${reference}`);
    });
  }
});
