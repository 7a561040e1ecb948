import assert from 'node:assert/strict';
import type { GenerateRequest } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { takesMatrices, testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { limitMemory } from '../support/limited-memory.ts';
import { loadTiny, onCpuPath, pictures, small, supportsCpuPath, tinyModel, watchDevice } from '../support/pipelines.ts';

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
    describe(`with offload '${offload}' predicts the peak of the device's memory to the byte`, () => {
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

  for (const dtype of ['bfloat16', 'int8', 'fp8'] as const) {
    if (dtype === 'fp8' && !takesMatrices('f8')) continue;
    it(`predicts the peak in ${dtype}, for any number of threads`, async () => {
      for (const threads of [1, 3]) {
        await using pipe = await loadTiny({ dtype, threads });
        const { memory } = await pipe.explain(small);
        assert.equal((await pipe.generate(small)).memory.peakBytes, memory.peakBytes);
      }
    });
  }

  it('allocates nothing on the device, and needs no weights', async () => {
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

  describe('if memory is short', () => {
    const request = { ...small, width: 512, height: 448, numImagesPerPrompt: 2, numInferenceSteps: 1 };

    for (const offload of ['none', 'text-encoder', 'sequential'] as const) {
      it(`reports the rows of the bands that a picture will be decoded in, with offload '${offload}'`, async () => {
        const load = { device: testDevice, dtype: 'float32', offload } as const;
        const { memory: roomy, stages } = await SanaPipeline.explain(tinyModel, request, load);
        assert.ok(stages.every(({ bandRows }) => bandRows === undefined));
        const arena = stages.at(-1)?.arenaBytes ?? assert.fail();
        const whole = await loadTiny({ offload });
        const expected = pictures(await whole.generate(request));
        await whole.dispose();
        const restore = limitMemory(roomy.peakBytes - arena / 3);
        try {
          const before = await SanaPipeline.explain(tinyModel, request, load);
          await using pipe = await loadTiny({ offload });
          const explanation = await pipe.explain(request);
          assert.deepEqual(explanation, before);
          const decode = explanation.stages.at(-1) ?? assert.fail();
          assert.ok((decode.bandRows ?? 512) <= 224, `bands of ${decode.bandRows} rows`);
          const made = await pipe.generate(request);
          assert.equal(made.memory.peakBytes, explanation.memory.peakBytes);
          assert.ok(made.memory.peakBytes < roomy.peakBytes);
          if (testDevice === 'cpu') assert.deepEqual(pictures(made), expected);
        } finally {
          restore();
        }
      });
    }

    it('makes generate fail before it starts if not even bands fit', async () => {
      await using pipe = await loadTiny();
      const restore = limitMemory((await pipe.explain(small)).memory.weightsBytes + 4e6);
      try {
        let steps = 0;
        const call = pipe.generate({ ...request, onStep: () => void steps++ });
        await assert.rejects(call, sanaError('ERR_SANA_MEMORY', 'of 512 x 448'));
        assert.equal(steps, 0);
      } finally {
        restore();
      }
    });
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

  it('reports the code path that will run', async function () {
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
    await assertProfiled(pipe, { ...small, numInferenceSteps: 2, numImagesPerPrompt: 2 });
    assert.equal((await pipe.generate(small)).images.length, 1); // and is over afterwards
  });

  it('times those of blended tiles, too, of which explain lists each shape once', async () => {
    await using pipe = await loadTiny();
    const request = { ...small, width: 960, numInferenceSteps: 1, decodeTiling: 'blend' } as const;
    await assertProfiled(pipe, request);
    const { stages } = await pipe.explain(request);
    const decoding = stages.slice(-3).map(({ name, runs }) => [name, runs]);
    assert.deepEqual(decoding, [
      ['decode tile', 2],
      ['decode tile', 1],
      ['decode blended', 1],
    ]);
  });

  async function assertProfiled(pipe: SanaPipeline, request: GenerateRequest): Promise<void> {
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
  }
});
