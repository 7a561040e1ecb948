import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { GenerateRequest, StepInfo, TensorLike } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { loadTiny, pictures, small, tinyModel, watchDevice } from '../support/pipelines.ts';
import { assertNoMoreThan, residentBytes, steadyResources } from '../support/process-resources.ts';

const reason = new Error('changed my mind');
const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('the life of a pipeline', () => {
  let pipe: SanaPipeline;
  let device: ReturnType<typeof watchDevice>;
  let expected: string[];
  let held: number; // bytes of the device between two calls of `small`
  before(async () => {
    device = watchDevice();
    pipe = await loadTiny();
    expected = await draw();
    await draw({ width: 1024, height: 1024, numInferenceSteps: 1 }); // the arena stays as large as it ever was
    await draw();
    held = device.bytes;
  });
  after(async () => {
    await pipe.dispose();
    device.close();
  });

  const draw = async (request: Partial<GenerateRequest> = {}, using = pipe) =>
    pictures(await using.generate({ ...small, ...request }));

  /** The pipeline works as if nothing had happened. */
  async function assertUnharmed(): Promise<void> {
    assert.deepEqual(await draw(), expected);
    assert.equal(device.bytes, held);
  }

  describe('calls that overlap', () => {
    it('run one after another, in order, and give what they give alone', async () => {
      const order: number[] = [];
      const running = new Set<number>();
      const together = await Promise.all(
        Array.from({ length: 16 }, async (_, i) => {
          const onStep = ({ step, totalSteps }: StepInfo) => {
            running.add(i);
            assert.deepEqual([...running], [i]);
            if (step === totalSteps) running.delete(i);
          };
          const made = await draw({ seed: i, width: 64 + 32 * (i % 3), onStep });
          order.push(i);
          return made;
        }),
      );
      assert.deepEqual(order, [...order.keys()]);
      for (const [i, made] of together.entries()) {
        assert.deepEqual(made, await draw({ seed: i, width: 64 + 32 * (i % 3) }));
      }
      await assertUnharmed();
    });

    it('of components and of several kinds do not disturb each other', async () => {
      const prompt = { prompt: 'a fox', complexHumanInstruction: null };
      const alone = await pipe.textEncoder.encode(prompt);
      const explained = await pipe.explain(small);
      const [first, embeds, explanation, second, profile] = await Promise.all([
        draw({ seed: 1 }),
        pipe.textEncoder.encode(prompt),
        pipe.explain(small),
        draw({ seed: 1 }),
        pipe.profile(small),
      ]);
      assert.deepEqual(embeds, alone);
      assert.deepEqual(explanation, explained);
      assert.deepEqual(first, second);
      assert.ok(profile.length > 0);
    });

    it('of two pipelines on one device, at once', async () => {
      await using other = await loadTiny();
      const calls = Array.from({ length: 8 }, (_, i) => draw({}, i % 2 === 0 ? pipe : other));
      for (const made of await Promise.all(calls)) assert.deepEqual(made, expected);
    });

    it('go on when one before them fails', async () => {
      const failing = draw({
        onStep: () => {
          throw reason;
        },
      });
      const next = draw();
      await assert.rejects(failing, reason);
      assert.deepEqual(await next, expected);
    });
  });

  describe('an aborted call', () => {
    it('rejects with the reason, before it starts', async () => {
      let steps = 0;
      const signal = AbortSignal.abort(reason);
      await assert.rejects(draw({ signal, onStep: () => void steps++ }), reason);
      await assert.rejects(pipe.explain({ ...small, signal }), reason);
      await assert.rejects(pipe.profile({ ...small, signal }), reason);
      await assert.rejects(pipe.textEncoder.encode({ prompt: 'x', signal }), reason);
      assert.equal(steps, 0);
      await assertUnharmed();
    });

    it('rejects a queued call at once, without waiting for the running one', async () => {
      const controller = new AbortController();
      let over = false;
      const running = draw({ width: 512, height: 512, numInferenceSteps: 20 }).then(() => {
        over = true;
      });
      const waiting = draw({ signal: controller.signal });
      const last = draw();
      await later(10);
      controller.abort(reason);
      await assert.rejects(waiting, reason);
      assert.equal(over, false);
      await running;
      assert.deepEqual(await last, expected);
    });

    it('rejects in each step, and calls onStep no more', async () => {
      for (let at = 1; at <= 4; at++) {
        const controller = new AbortController();
        const seen: number[] = [];
        const onStep = ({ step }: StepInfo) => {
          seen.push(step);
          if (step === at) controller.abort(reason);
        };
        await assert.rejects(draw({ numInferenceSteps: 4, signal: controller.signal, onStep }), reason);
        assert.deepEqual(
          seen,
          Array.from({ length: at }, (_, i) => i + 1),
        );
        await assertUnharmed();
      }
    });

    it('rejects at any moment: in tokens, text, steps and decoding', async function () {
      this.timeout(120_000);
      const request = { ...small, width: 512, height: 512, numInferenceSteps: 6 };
      const whole = pictures(await pipe.generate(request));
      const { timings } = await pipe.generate(request);
      const { bytes } = device;
      let aborted = 0;
      const moments = 24;
      for (let i = 0; i < moments; i++) {
        const controller = new AbortController();
        const call = pipe.generate({ ...request, signal: controller.signal });
        const ended = call.then(pictures, (error: unknown) => error);
        await later((timings.totalMs * i) / moments);
        controller.abort(reason);
        const outcome = await ended;
        if (outcome === reason) aborted++;
        else assert.deepEqual(outcome, whole); // it was done
        assert.equal(device.bytes, bytes, `abort ${i}`);
      }
      assert.ok(aborted >= moments / 3, `${aborted} of ${moments} were aborted`);
      assert.deepEqual(pictures(await pipe.generate(request)), whole);
    });

    it('rejects in a small fraction of the time that the call had left', async function () {
      this.timeout(120_000);
      const request = { ...small, width: 1024, height: 1024, numInferenceSteps: 1 };
      const { timings } = await pipe.generate(request);
      const waits: number[] = [];
      for (let i = 0; i < 5; i++) {
        const controller = new AbortController();
        let begun = 0;
        // Decoding is the longest program: some 60 operators, of which only the running one is finished.
        const onStep = () => {
          setTimeout(() => {
            begun = performance.now();
            controller.abort(reason);
          }, timings.decodeMs / 10);
        };
        await assert.rejects(pipe.generate({ ...request, signal: controller.signal, onStep }), reason);
        waits.push(performance.now() - begun);
      }
      const median = waits.sort((a, b) => a - b)[2] ?? 0;
      assert.ok(median < timings.decodeMs / 3, `${median} ms to stop what takes ${timings.decodeMs} ms`);
    });

    it('of loading rejects at every event, and leaves nothing', async function () {
      this.timeout(120_000);
      await using _ = await loadTiny({ threads: 1 }); // its device stays, and its threads
      const watched = watchDevice(1);
      const { bytes } = watched;
      const before = await steadyResources();
      let all = 0;
      await (await loadTiny({ threads: 1, onProgress: () => void all++ })).dispose();
      for (let part = 0; part < 8; part++) {
        const controller = new AbortController();
        const at = Math.floor((all * part) / 8);
        let events = 0;
        const onProgress = () => {
          if (events++ === at) controller.abort(reason);
        };
        await assert.rejects(loadTiny({ threads: 1, signal: controller.signal, onProgress }), reason);
        assert.equal(watched.bytes, bytes, `event ${at} of ${all}`);
      }
      await assert.rejects(loadTiny({ signal: AbortSignal.abort(reason) }), reason);
      const controller = new AbortController();
      const loading = loadTiny({ threads: 1, signal: controller.signal });
      setImmediate(() => controller.abort(reason)); // while the tokenizer starts
      await assert.rejects(loading, reason);
      assert.equal(watched.bytes, bytes);
      await assertNoMoreThan(before);
      watched.close();
    });
  });

  describe('onStep', () => {
    it('is awaited, and reports the progress of the call', async () => {
      let inside = false;
      const seen: [number, number][] = [];
      let elapsed = 0;
      let sigma = Number.POSITIVE_INFINITY;
      const onStep = async (step: StepInfo) => {
        assert.equal(inside, false);
        inside = true;
        seen.push([step.step, step.totalSteps]);
        assert.ok(step.elapsedMs >= elapsed && step.sigma < sigma && step.timestep > 0);
        elapsed = step.elapsedMs + 20;
        sigma = step.sigma;
        await later(25);
        inside = false;
      };
      const { timings } = await pipe.generate({ ...small, numInferenceSteps: 3, onStep });
      assert.equal(inside, false);
      assert.deepEqual(seen, [
        [1, 3],
        [2, 3],
        [3, 3],
      ]);
      assert.equal(timings.stepMs.length, 3);
      const steps = timings.stepMs.reduce((a, b) => a + b, 0);
      assert.ok(timings.denoiseMs >= steps + 60, 'callbacks count as denoising, not as steps');
    });

    it('ends the call with what it throws or rejects with', async () => {
      const thrown = () => {
        throw reason;
      };
      const rejected = () => Promise.reject(reason);
      for (const onStep of [thrown, rejected]) {
        await assert.rejects(draw({ onStep }), (error) => error === reason);
        await assertUnharmed();
      }
    });

    it('gives the latents of every step, and those of the last are the result', async () => {
      const latents: TensorLike[] = [];
      const request = { ...small, numImagesPerPrompt: 2, outputType: 'latent' } as const;
      const onStep = async (step: StepInfo) => {
        latents.push(await step.latents());
      };
      const result = await pipe.generate({ ...request, onStep });
      assert.equal(latents.length, 2);
      assert.notDeepEqual(latents[0], latents[1]);
      assert.deepEqual(latents[1], result.latents);
      assert.deepEqual(result.images, []);
    });

    it('gives previews of the requested size, which change nothing', async () => {
      const sizes: number[][] = [];
      const onStep = async (step: StepInfo) => {
        const [one, two] = await Promise.all([step.preview(), step.preview()]);
        assert.deepEqual(one, two);
        sizes.push([one.width, one.height, one.data.length]);
      };
      assert.deepEqual(await draw({ onStep }), expected);
      assert.deepEqual(sizes, [
        [96, 64, 96 * 64 * 3],
        [96, 64, 96 * 64 * 3],
      ]);
      sizes.length = 0;
      await draw({ onStep, width: 70, height: 50, useResolutionBinning: true, numInferenceSteps: 1 });
      assert.deepEqual(sizes, [[70, 50, 70 * 50 * 3]]);
    });

    it('gives nothing once its promise has settled, and waits for what it began', async () => {
      let info: StepInfo | undefined;
      const begun: Promise<unknown>[] = [];
      await using sequential = await loadTiny({ offload: 'sequential' });
      const onStep = (step: StepInfo) => {
        info = step;
        begun.push(step.preview(), step.latents(), step.preview()); // not awaited
      };
      assert.deepEqual(await draw({ onStep }, sequential), expected);
      const [first, , third] = await Promise.all(begun.slice(0, 3));
      assert.deepEqual(first, third);
      const over = sanaError('ERR_SANA_DISPOSED', 'The step is over');
      await assert.rejects(async () => info?.latents(), over);
      await assert.rejects(async () => info?.preview(), over);
    });
  });

  describe('dispose', () => {
    it('waits for the running call, and rejects those that wait', async () => {
      const { bytes } = device;
      const other = await loadTiny();
      const running = draw({}, other);
      const waiting = Array.from({ length: 8 }, () => draw({}, other));
      const disposed = sanaError('ERR_SANA_DISPOSED', 'pipeline');
      const rejections = waiting.map((call) => assert.rejects(call, disposed));
      const disposals = Promise.all([other.dispose(), other.dispose()]);
      assert.deepEqual(await running, expected);
      await Promise.all([...rejections, disposals]);
      await other.dispose();
      assert.equal(device.bytes, bytes);
    });

    it('makes every later call reject', async () => {
      const other = await loadTiny();
      const { embeds, mask } = await other.textEncoder.encode({ prompt: 'x' });
      await other.dispose();
      const disposed = sanaError('ERR_SANA_DISPOSED');
      const latents = { data: new Float32Array(32 * 6), shape: [1, 32, 2, 3] };
      await assert.rejects(draw({}, other), disposed);
      await assert.rejects(other.explain(small), disposed);
      await assert.rejects(other.profile(small), disposed);
      await assert.rejects(other.textEncoder.encode({ prompt: 'x' }), disposed);
      await assert.rejects(other.transformer.forward({ latents, timestep: 1, embeds, mask }), disposed);
      await assert.rejects(other.autoencoder.decode(latents), disposed);
      await assert.rejects(other.autoencoder.encode({ width: 32, height: 32, data: new Uint8Array(3072) }), disposed);
      assert.throws(() => other.tokenizer.encode('x'), disposed);
      await assertUnharmed();
    });

    it('comes with `await using`, also when the block throws', async () => {
      const { bytes } = device;
      let seen: SanaPipeline | undefined;
      const use = async () => {
        await using other = await loadTiny();
        seen = other;
        assert.ok(device.bytes > bytes);
        throw reason;
      };
      await assert.rejects(use(), reason);
      assert.equal(device.bytes, bytes);
      await assert.rejects(async () => seen?.generate(small), sanaError('ERR_SANA_DISPOSED'));
    });
  });

  describe('offload', () => {
    it('frees what it promises, whether the call succeeds or not', async () => {
      const { bytes } = device;
      const fail = () => {
        throw reason;
      };
      const peek = async (step: StepInfo) => void (await step.preview());
      await using other = await loadTiny({ offload: 'sequential' });
      assert.equal(device.bytes, bytes);
      await draw({}, other);
      const kept = device.bytes - bytes;
      assert.equal(kept, 3 * 174 * 128 * 4, "more than the instruction's keys and values, [3][174, 128] f32");
      await assert.rejects(draw({ onStep: fail }, other), reason);
      assert.equal(device.bytes - bytes, kept, 'after a call that failed');
      await draw({ onStep: peek, outputType: 'latent' }, other);
      assert.equal(device.bytes - bytes, kept, 'after previews');
      await other.profile(small);
      await other.textEncoder.encode({ prompt: 'x' });
      await other.autoencoder.encode({ width: 32, height: 32, data: new Uint8Array(3072) });
      await other.autoencoder.decode({ data: new Float32Array(32), shape: [1, 32, 1, 1] });
      assert.equal(device.bytes - bytes, kept, 'after components');
    });
  });

  describe('nothing is lost', () => {
    it('in 200 generations: no memory, descriptors or threads', async function () {
      this.timeout(120_000);
      const sizes = [{}, { width: 64 }, { height: 32, numImagesPerPrompt: 2 }, { guidanceScale: 1 }];
      const once = async (i: number) => void (await pipe.generate({ ...small, ...sizes[i % sizes.length], seed: i }));
      for (let i = 0; i < 60; i++) await once(i);
      await draw();
      const { bytes } = device;
      const before = await steadyResources();
      const samples: number[] = [];
      for (let i = 0; i < 200; i++) {
        await once(i);
        if (i % 10 === 9) samples.push(residentBytes());
      }
      await draw();
      assert.equal(device.bytes, bytes);
      await assertNoMoreThan(before);
      const growth = slope(samples) / 10;
      assert.ok(growth < 16 << 10, `resident memory grows by ${growth} bytes a generation: ${samples}`);
    });

    it('in 40 loadings and disposals', async function () {
      this.timeout(180_000);
      const cycle = async (i: number) => {
        const offload = (['none', 'sequential'] as const)[i % 2] ?? 'none';
        await using other = await SanaPipeline.fromPretrained(tinyModel, {
          device: testDevice,
          dtype: 'float32',
          offload,
        });
        if (i % 4 < 2) await other.generate(small);
      };
      for (let i = 0; i < 8; i++) await cycle(i);
      const { bytes } = device;
      const before = await steadyResources();
      const samples: number[] = [];
      for (let i = 0; i < 40; i++) {
        await cycle(i);
        if (i % 4 === 3) samples.push(residentBytes());
      }
      assert.equal(device.bytes, bytes);
      await assertNoMoreThan(before);
      const growth = slope(samples) / 4;
      assert.ok(growth < 512 << 10, `resident memory grows by ${growth} bytes a cycle: ${samples}`);
    });
  });

  describe('in a worker thread', () => {
    it('draws the same while the main thread draws, and may be terminated in the middle', async function () {
      this.timeout(120_000);
      const request = { ...small, numInferenceSteps: 4 };
      const same = pictures(await pipe.generate(request));
      const before = await steadyResources();
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(new URL('../support/drawing-worker.mjs', import.meta.url), { execArgv: [] });
        let drawn: string[] | undefined;
        let steps = 0;
        worker.on('message', (message: { step?: number; pictures?: string[] }) => {
          drawn ??= message.pictures;
          if (drawn !== undefined && message.step !== undefined) steps++;
        });
        const failed = once(worker, 'error').then(([error]) => Promise.reject(error));
        failed.catch(() => {});
        while (steps < 2 + i) {
          assert.deepEqual(pictures(await Promise.race([pipe.generate(request), failed])), same);
        }
        assert.deepEqual(drawn, same);
        const start = performance.now();
        await worker.terminate();
        const tookMs = performance.now() - start;
        assert.ok(tookMs < 2000, `it took ${tookMs} ms to end`);
        assert.deepEqual(pictures(await pipe.generate(request)), same);
      }
      await assertNoMoreThan(before);
      await assertUnharmed();
    });
  });
});

/** Of the line through samples at 0, 1, 2, ... that half of all pairs lie above: single jumps do not move it. */
function slope(samples: readonly number[]): number {
  const slopes = samples.flatMap((a, i) => samples.slice(i + 1).map((b, k) => (b - a) / (k + 1)));
  return slopes.sort((a, b) => a - b)[Math.floor(slopes.length / 2)] ?? 0;
}
