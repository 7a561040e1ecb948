import assert from 'node:assert/strict';
import { convertInTiles, needsTiles, referenceTiling, tilesAlong } from '../../lib/models/tiling.ts';
import type { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import type { TensorLike } from '../../lib/request/types.ts';
import { sanaError } from '../support/errors.ts';
import { errorOf } from '../support/golden.ts';
import { loadTiny, pictures, small } from '../support/pipelines.ts';
import { Random } from '../support/random.ts';

/** Doubles every pixel both ways, and adds `step` for every earlier tile. */
function doubling(step: number): (tile: TensorLike) => Promise<TensorLike> {
  let tiles = 0;
  return async ({ data, shape: [b = 0, c = 0, h = 0, w = 0] }) => {
    const added = step * tiles++;
    const out = Float32Array.from({ length: 4 * data.length }, (_, i) => {
      const [row, x] = [Math.floor(i / (2 * w)), i % (2 * w)];
      return (data[(row >> 1) * w + (x >> 1)] ?? 0) + added;
    });
    return { data: out, shape: [b, c, 2 * h, 2 * w] };
  };
}

describe('tiles', () => {
  it('are 512 pixels wide, and 1024 for a model of 4096 pixels', () => {
    assert.deepEqual([16, 32, 64].map(referenceTiling), Array(3).fill({ size: 512, stride: 448 }));
    assert.deepEqual(referenceTiling(128), { size: 1024, stride: 896 });
  });

  it('are cut as the reference cuts them: by the stride, the last ones short', () => {
    const tiling = { size: 16, stride: 14 };
    const spans = tilesAlong(32, tiling).map(({ start, length }) => [start, length]);
    assert.deepEqual(spans, [
      [0, 16],
      [14, 16],
      [28, 4],
    ]);
    assert.equal(tilesAlong(16, tiling).length, 2); // a second column of 2, when the height asks for tiles
    assert.equal(needsTiles(16, 16, tiling), false);
    assert.equal(needsTiles(17, 16, tiling), true);
  });

  it('put together what was cut, for every picture and channel', async () => {
    const shape = [2, 3, 7, 5];
    const input = { data: Float32Array.from({ length: 210 }, (_, i) => i), shape };
    const out = await convertInTiles(input, { size: 3, stride: 2 }, 2, doubling(0));
    assert.deepEqual(out, await doubling(0)(input));
  });

  it('go over into each other linearly', async () => {
    const input = { data: new Float32Array(5), shape: [1, 1, 1, 5] };
    const { data, shape } = await convertInTiles(input, { size: 3, stride: 2 }, 2, doubling(1));
    assert.deepEqual(shape, [1, 1, 2, 10]);
    // Tiles 0, 1 and 2 begin at 0, 4 and 8, and overlap by 2: half of each where a tile begins is still the one before.
    assert.deepEqual([...data.subarray(0, 10)], [0, 0, 0, 0, 0, 0.5, 1, 1, 1, 1.5]);
  });
});

describe("decodeTiling: 'blend'", () => {
  let pipe: SanaPipeline;
  before(async () => {
    pipe = await loadTiny();
  });
  after(() => pipe.dispose());

  it('changes pixels where tiles meet in a picture larger than a tile, and records it in its parameters', async () => {
    const request = { ...small, width: 544, numInferenceSteps: 1 };
    const [exact, blended] = [
      await pipe.generate(request),
      await pipe.generate({ ...request, decodeTiling: 'blend' }),
    ].map(({ images }) => images[0] ?? assert.fail());
    assert.equal(exact?.parameters.decodeTiling, undefined);
    assert.equal(blended?.parameters.decodeTiling, 'blend');
    assert.notDeepEqual(blended?.data, exact?.data);
    assert.ok(errorOf(blended?.data ?? [], exact?.data ?? []).relL2 < 0.2);
  });

  it('changes nothing if one tile is enough', async () => {
    const request = { ...small, width: 512, numInferenceSteps: 1 };
    assert.deepEqual(
      pictures(await pipe.generate({ ...request, decodeTiling: 'blend' })),
      pictures(await pipe.generate(request)),
    );
  });

  it('is available for the autoencoder by itself, which rejects unknown values', async () => {
    const z = { data: new Random(1).uniform(32 * 2 * 17), shape: [1, 32, 2, 17] };
    const image = await pipe.autoencoder.decode(z, { tiling: 'blend' });
    assert.deepEqual(image.shape, [1, 3, 64, 544]);
    assert.notDeepEqual(image, await pipe.autoencoder.decode(z));
    assert.deepEqual((await pipe.autoencoder.encode(image, { tiling: 'blend' })).shape, z.shape);
    const wrong = pipe.autoencoder.decode(z, { tiling: 'tiles' as 'blend' });
    await assert.rejects(wrong, sanaError('ERR_SANA_ARGUMENT', "`tiling` to be 'auto' or 'blend'"));
  });
});
