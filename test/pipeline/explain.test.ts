import assert from 'node:assert/strict';
import type { GenerateRequest } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { testDevice } from '../support/device.ts';
import { loadTiny, onCpuPath, small, supportsCpuPath, tinyModel, watchDevice } from '../support/pipelines.ts';

const requests: readonly [string, Partial<GenerateRequest>][] = [
  ['a small picture, where the prompt needs most', {}],
  ['a larger one, where decoding needs most', { width: 320, height: 192 }],
  ['without guidance', { guidanceScale: 1, width: 256, height: 96 }],
  ['several prompts', { prompt: ['a fox', 'a longer prompt, of a lighthouse'], width: 256, height: 256 }],
  ['many images, as latents', { numImagesPerPrompt: 16, outputType: 'latent', width: 256, height: 256 }],
  ['without an instruction, as latents', { complexHumanInstruction: null, guidanceScale: 1, outputType: 'latent' }],
  ['a size that is resized and cropped', { width: 300, height: 200, useResolutionBinning: true, numInferenceSteps: 1 }],
];

describe('explain', () => {
  let empty: number;
  before(() => {
    const device = watchDevice();
    empty = device.bytes;
    device.close();
  });

  for (const offload of ['none', 'text-encoder', 'sequential'] as const) {
    describe(`with offload '${offload}' foretells the peak of the device's memory to the byte`, () => {
      for (const [what, changes] of requests) {
        if (offload !== 'none' && changes.useResolutionBinning) continue; // a second each
        it(what, async () => {
          const request = { ...small, ...changes };
          await using pipe = await loadTiny({ offload });
          const { memory } = await pipe.explain(request);
          assert.equal((await pipe.generate(request)).memory.peakBytes, memory.peakBytes);
          // Later calls find the instruction computed, which the first one may have needed most for.
          const later = await pipe.generate(request);
          if (offload !== 'none') assert.ok(later.memory.peakBytes <= memory.peakBytes);
        });
      }
    });
  }

  it('foretells the peak in bfloat16, for any number of threads', async () => {
    for (const threads of [1, 3]) {
      await using pipe = await loadTiny({ dtype: 'bfloat16', threads });
      const { memory } = await pipe.explain(small);
      assert.equal((await pipe.generate(small)).memory.peakBytes, memory.peakBytes);
    }
  });

  it('takes nothing from the device, and needs no weights', async () => {
    const device = watchDevice();
    try {
      const bare = await SanaPipeline.explain(tinyModel, small, { device: testDevice, dtype: 'float32' });
      assert.equal(device.bytes, empty);
      await using pipe = await loadTiny();
      const loaded = device.bytes;
      assert.deepEqual(await pipe.explain(small), bare);
      assert.equal(device.bytes, loaded);
      await pipe.generate({ ...small, width: 256 });
      assert.deepEqual(await pipe.explain(small), bare);
      assert.equal(loaded - empty, bare.memory.weightsBytes);
    } finally {
      device.close();
    }
  });

  it('adds up: the FLOPs of a generation are those of its stages, as often as they run', async () => {
    const request = { ...small, prompt: ['a', 'b'], numInferenceSteps: 3 };
    const { stages, flops, batch } = await SanaPipeline.explain(tinyModel, request, { device: testDevice });
    const runs = Object.fromEntries(stages.map(({ name, runs: times }) => [name, times]));
    assert.deepEqual(runs, {
      instruction: 1,
      text_encode: 1,
      'text_encode negative': 1,
      text_context: 1,
      denoise_step: 3,
      decode: batch,
    });
    const sum = stages.reduce((total, stage) => {
      assert.equal(
        stage.flops,
        stage.operators.reduce((all, operator) => all + operator.flops, 0),
      );
      return total + stage.flops * stage.runs;
    }, 0);
    assert.equal(flops, sum);
    assert.ok(flops > 0);
  });

  it('says which code path will run', async function () {
    if (!supportsCpuPath('portable')) this.skip();
    const { devicePath } = await onCpuPath('portable', () =>
      SanaPipeline.explain(tinyModel, small, { device: testDevice }),
    );
    assert.equal(devicePath, 'portable');
  });
});

describe('profile', () => {
  it('times every operator of every program that explain lists', async () => {
    await using pipe = await loadTiny();
    const request = { ...small, numInferenceSteps: 2, numImagesPerPrompt: 2 };
    const { stages } = await pipe.explain(request);
    const planned = stages.flatMap(({ runs, operators }) => Array.from({ length: runs }, () => operators));
    const profile = await pipe.profile(request);
    const untimed = profile.map(({ operators }) => operators.map(({ ms: _, ...operator }) => operator));
    const [negative = []] = untimed.splice(0, 1); // explained third, after the instruction and the prompt
    untimed.splice(2, 0, negative);
    assert.equal(untimed.length, planned.length);
    for (const [i, operators] of planned.entries()) assert.deepEqual(untimed[i], operators, `program ${i}`);
    for (const { name, operators } of profile) {
      assert.ok(operators.length > 0, name);
      for (const { ms, op, scope } of operators) assert.ok(Number.isFinite(ms) && ms > 0, `${op} ${scope}: ${ms} ms`);
    }
    assert.equal((await pipe.generate(small)).images.length, 1); // and is over afterwards
  });
});
