import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import { listDevices } from '../../lib/index.ts';
import { testDevice } from '../support/device.ts';
import { loadTiny, pictures, small } from '../support/pipelines.ts';

const request = { ...small, numInferenceSteps: 4 };

/** Peak signal-to-noise ratio of 8-bit values, in decibels. */
function psnr(a: Uint8Array, b: Uint8Array): number {
  const squares = a.reduce((sum, x, i) => sum + (x - (b[i] ?? 0)) ** 2, 0);
  return 10 * Math.log10((255 ** 2 * a.length) / squares);
}

describe('SanaPipeline on a CUDA device', () => {
  const gpus = (): string[] =>
    listDevices()
      .filter(({ id, problem }) => id !== 'cpu' && problem === undefined)
      .map(({ id }) => id);
  let onCpu: Uint8Array;

  before(async function () {
    if (testDevice !== 'cuda') {
      console.log('    skipped: SANA_TEST_DEVICE is not cuda');
      this.skip();
    }
    await using pipe = await loadTiny({ device: 'cpu' });
    onCpu = (await pipe.generate(request)).images[0]?.data ?? new Uint8Array();
  });

  it('draws in float32 what the CPU draws', async () => {
    await using pipe = await loadTiny();
    const drawn = (await pipe.generate(request)).images[0]?.data ?? new Uint8Array();
    assert.equal(drawn.length, onCpu.length);
    const off = drawn.map((x, i) => Math.abs(x - (onCpu[i] ?? 0)));
    assert(off.reduce((most, x) => Math.max(most, x)) <= 1, 'no value is off by more than one level');
    const changed = off.filter((x) => x > 0).length;
    assert(changed <= 0.01 * off.length, `${changed} of ${off.length} values are off by one level`);
  });

  for (const dtype of ['bfloat16', 'float16'] as const) {
    it(`draws in ${dtype} nearly what the CPU draws in float32`, async () => {
      await using pipe = await loadTiny({ dtype });
      const { images } = await pipe.generate(request);
      assert.equal(images[0]?.parameters.dtype, dtype);
      const decibels = psnr(images[0]?.data ?? new Uint8Array(), onCpu);
      assert(decibels >= 25, `PSNR ${decibels} dB`);
    });
  }

  it('draws the same bytes again, on every device, with the text encoder offloaded', async () => {
    await using pipe = await loadTiny({ dtype: 'bfloat16' });
    const first = pictures(await pipe.generate(request));
    assert.deepEqual(pictures(await pipe.generate(request)), first, 'again: programs are recorded by now');
    for (const device of gpus()) {
      await using other = await loadTiny({ device: device as 'cuda:0', dtype: 'bfloat16', offload: 'text-encoder' });
      assert.deepEqual(pictures(await other.generate(request)), first, device);
    }
  });

  it('selects the first GPU for auto, in bfloat16', async () => {
    await using pipe = await loadTiny({ device: 'auto', dtype: 'auto' });
    const explained = await pipe.explain(request);
    assert.equal(explained.device, gpus()[0]);
    assert.equal(explained.dtype, 'bfloat16');
  });

  it('stops within a step if it is aborted, and can draw again afterwards', async () => {
    await using pipe = await loadTiny();
    const abort = new AbortController();
    const drawing = pipe.generate({ ...request, numInferenceSteps: 50, signal: abort.signal });
    await setTimeout(50);
    abort.abort();
    await assert.rejects(drawing, { name: 'AbortError' });
    assert.equal((await pipe.generate(request)).images.length, 1);
  });
});
