import assert from 'node:assert/strict';
import type { SanaError, SanaErrorCode } from '../../lib/base/errors.ts';
import { openDevice } from '../../lib/device/devices.ts';
import type { DType } from '../../lib/device/native.ts';
import type { Explanation, GenerateRequest, LoadOptions } from '../../lib/index.ts';
import { readGenerationMetadata } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { takesMatrices, testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { errorOf, GoldenFile } from '../support/golden.ts';
import { loraFolder } from '../support/loras.ts';
import { layOver, loadTiny, pictures, small, tinyModel } from '../support/pipelines.ts';

const golden = new GoldenFile('lora');

/** The recorded forward's error, relative L2. */
async function errorOfForward(pipe: SanaPipeline, output: string): Promise<number> {
  const { data } = await pipe.transformer.forward({
    latents: golden.get('in.latents'),
    timestep: [...golden.get('in.timestep').data],
    embeds: golden.get('in.encoder_hidden_states'),
    mask: golden.get('in.encoder_attention_mask'),
  });
  return errorOf(data, golden.get(output).data).relL2;
}

/** A device whose backend has no products of such a dtype, and reports it with this code and text. */
function without(narrow: DType, code: SanaErrorCode, reason: string): Disposable {
  const lease = openDevice(testDevice);
  const { native } = lease;
  const { info } = native;
  const refusals = { ...info.refusals, [narrow]: { code, reason } };
  Object.defineProperty(native, 'info', { configurable: true, value: { ...info, refusals } });
  return {
    [Symbol.dispose]() {
      delete (native as { info?: unknown }).info;
      lease.release();
    },
  };
}

for (const [dtype, matrices, farthest] of [
  ['int8', 'i8', 5],
  ['fp8', 'f8', 10], // three bits of fraction
] as const) {
  if (!takesMatrices(matrices)) continue;
  describe(`a pipeline in ${dtype}`, () => {
    let pipe: SanaPipeline;
    before(async () => {
      pipe = await loadTiny({ dtype });
    });
    after(() => pipe.dispose());

    const draw = async (request: Partial<GenerateRequest> = {}, using = pipe) =>
      pictures(await using.generate({ ...small, ...request }));

    it('is near the reference, further than bfloat16 and not by much', async () => {
      await using bf16 = await loadTiny({ dtype: 'bfloat16' });
      const [rounded, bytes] = [await errorOfForward(bf16, 'output.base'), await errorOfForward(pipe, 'output.base')];
      assert.ok(bytes > rounded && bytes < farthest * rounded, `${bytes}, ${rounded} in bfloat16`);
    });

    it('has the products of the blocks in bytes and the rest as in bfloat16', async () => {
      await using bf16 = await loadTiny({ dtype: 'bfloat16' });
      const [narrow, wide] = [await pipe.explain(small), await bf16.explain(small)];
      assert.equal(narrow.dtype, dtype);
      const operators = ({ stages }: Explanation) => stages.flatMap((stage) => stage.operators);
      const saved = operators(wide).map(({ scope, shapes, bytes }, i) => {
        const [, n = 0, k = 0] = / x \[(\d+), (\d+)\] ->/.exec(shapes) ?? [];
        return { scope, elements: Number(n) * Number(k), bytes: bytes - (operators(narrow)[i]?.bytes ?? 0) };
      });
      const products = saved.filter(({ scope }) => /^block \d+ > (attn1|attn2|ff)$/.test(scope));
      assert.ok(products.every(({ elements, bytes }) => bytes === elements));
      assert.equal(products.filter(({ elements }) => elements > 0).length, 3 * 6);
      assert.ok(saved.every((operator) => products.includes(operator) || operator.bytes === 0));
      const bytes = products.reduce((sum, { elements }) => sum + elements, 0);
      const less = wide.memory.weightsBytes - narrow.memory.weightsBytes;
      assert.ok(less > 0.85 * bytes && less < bytes, `${less} bytes less of ${bytes}`); // scales take a little
    });

    it('is named in the metadata of pictures', async () => {
      const { images } = await pipe.generate(small);
      const made = await readGenerationMetadata((await images[0]?.toBuffer('png')) ?? '');
      assert.ok(made?.source === 'sana-native' && made.dtype === dtype);
    });

    it('merges LoRA adapters into the bytes, and removes them again', async () => {
      const expected = await draw();
      const without = await errorOfForward(pipe, 'output.base');
      await pipe.loadLora(loraFolder('all'));
      const merged = await errorOfForward(pipe, 'output.all');
      assert.ok(merged < 1.5 * without, `${merged}, ${without} without`);
      assert.notDeepEqual(await draw(), expected);
      assert.deepEqual(await draw({ loraScale: 0 }), expected);
      await pipe.unloadLora();
      assert.deepEqual(await draw(), expected);
    });

    it(`has a ControlNet in ${dtype}, too`, async () => {
      const laid = layOver('sana-controlnet');
      const open = (options: LoadOptions) => SanaPipeline.fromPretrained(laid.path, { device: testDevice, ...options });
      try {
        const controlImage = { width: 96, height: 64, data: new Uint8Array(96 * 64 * 3).map((_, i) => (37 * i) % 256) };
        await using steered = await open({ dtype });
        await using bf16 = await open({ dtype: 'bfloat16' });
        const request = { ...small, controlImage };
        const bytesOf = async (of: SanaPipeline) =>
          (await of.explain(request)).stages
            .flatMap(({ operators }) => operators)
            .filter(({ op, scope }) => op === 'linear' && /^controlnet > block 0 > ff$/.test(scope))
            .map(({ bytes }) => bytes);
        const [narrow, wide] = [await bytesOf(steered), await bytesOf(bf16)];
        assert.ok(narrow.length > 0 && narrow.every((bytes, i) => bytes < (wide[i] ?? 0)));
        const drawn = await draw({ controlImage }, steered);
        assert.deepEqual(await draw({ controlImage }, steered), drawn);
        assert.notDeepEqual(await draw({ controlImage, controlnetConditioningScale: 0 }, steered), drawn);
      } finally {
        laid.remove();
      }
    });
  });
}

describe('a pipeline in 8 bits', () => {
  it('is rejected if the backend has no such products, with the supported ones', async () => {
    using _ = without('i8', 'ERR_SANA_PROGRAM', 'not packed');
    const load = SanaPipeline.explain(tinyModel, small, { device: testDevice, dtype: 'int8' });
    await assert.rejects(load, sanaError('ERR_SANA_ARGUMENT', '`dtype`', "'bfloat16'", "got 'int8'"));
  });

  it('is rejected if the device has no fp8, with the reason, and with int8 among the supported ones', async () => {
    using _ = without('f8', 'ERR_SANA_DEVICE', 'fp8 needs more');
    const load = SanaPipeline.explain(tinyModel, small, { device: testDevice, dtype: 'fp8' });
    await assert.rejects(load, (error: SanaError) => {
      assert.equal(error.hint, 'fp8 needs more.');
      return sanaError('ERR_SANA_ARGUMENT', '`dtype`', "'int8'", "got 'fp8'")(error);
    });
  });

  it('is rejected in fp8 on the CPU, before anything is read, with a hint to use int8', async () => {
    const load = SanaPipeline.fromPretrained(tinyModel, { device: 'cpu', dtype: 'fp8' });
    await assert.rejects(load, (error: SanaError) => {
      assert.match(error.message, /'bfloat16' or 'int8' on the CPU, got 'fp8'/);
      assert.match(error.hint, /compute capability 8\.9 or later; use 'int8'/);
      return error.code === 'ERR_SANA_ARGUMENT';
    });
  });

  it('is named if another dtype is rejected', async function () {
    if (testDevice !== 'cpu') this.skip();
    const load = SanaPipeline.explain(tinyModel, small, { device: 'cpu', dtype: 'float16' });
    const expected = "`dtype` to be 'auto', 'float32', 'bfloat16' or 'int8' on the CPU, got 'float16'";
    await assert.rejects(load, sanaError('ERR_SANA_ARGUMENT', expected));
  });
});
