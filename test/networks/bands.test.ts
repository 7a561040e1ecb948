import assert from 'node:assert/strict';
import { type Checkpoint, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import type { AutoencoderConfig } from '../../lib/checkpoint/configs.ts';
import { haloOf, type LocalLayer, type Rows, reaching, recordInBands } from '../../lib/networks/bands.ts';
import { AutoencoderDecoder } from '../../lib/networks/dc-ae.ts';
import { Weights } from '../../lib/networks/weights.ts';
import { releasedAutoencoder } from '../../scripts/random-checkpoint/released.ts';
import { runGraph, sharedDevice, testDevice } from '../support/device.ts';
import { fixture } from '../support/files.ts';
import { errorOf } from '../support/golden.ts';
import { Random } from '../support/random.ts';

/**
 * Fills a model's memory with small numbers, whatever its packed layout: every 16 bits of them are a bf16 between 2^-5
 * and 2^-3, so that every 32 bits are such an f32.
 */
async function fill(weights: Weights, seed: number): Promise<void> {
  const draw = new Random(seed);
  weights.storage.allocate();
  const words = Uint16Array.from({ length: weights.bytes / 2 }, () => {
    return draw.integer(0, 1) * 0x8000 + draw.integer(0x3d00, 0x3dff);
  });
  await sharedDevice().write(weights.storage.buffer, 0, new Uint8Array(words.buffer));
}

/** Equal to the bit on the CPU. On a GPU how a long sum is split depends on the shapes. */
function assertSame(actual: Float32Array, expected: Float32Array, what: string, relL2 = 1e-5): void {
  if (testDevice === 'cpu') {
    assert.ok(expected.every(Number.isFinite) && expected.some((x) => x !== expected[0]), 'nothing to compare');
    const wrong = expected.findIndex((x, i) => !Object.is(x, actual[i]));
    assert.equal(wrong, -1, `${what}: element ${wrong} is ${actual[wrong]}, not ${expected[wrong]}`);
  }
  assert.ok(errorOf(actual, expected).relL2 <= relL2, what);
}

describe('bands', () => {
  let checkpoint: Checkpoint;
  before(async () => {
    checkpoint = await openCheckpoint(fixture('sana-base'));
  });
  after(() => checkpoint.close());

  const tailOf = (config: AutoencoderConfig) => new AutoencoderDecoder(sharedDevice(), config, 'f32').tail;

  it('of the released decoder begin at 1/8 of the size, after all attention, with a halo of 7 rows', () => {
    assert.deepEqual(tailOf(releasedAutoencoder()), { rowsPerLatent: 4, scale: 8, halo: 7 });
  });

  it('have a halo that follows from the layers there are', () => {
    const { config } = checkpoint.vae; // one block where the released one has three
    assert.deepEqual(tailOf(config), { rowsPerLatent: 4, scale: 8, halo: 3 });
    // Counted by hand: 1 + 6 at full resolution, ceil(7 / 2) + 1 + 6, ceil(11 / 2) + 1 + 6, ceil(13 / 2) + 1.
    const shuffled = { ...releasedAutoencoder(), upsampleBlockType: 'pixel_shuffle' } as const;
    assert.deepEqual(tailOf(shuffled), { rowsPerLatent: 4, scale: 8, halo: 8 });
    // And without a stage at full resolution: 1 + 6 at half of it, ceil((7 + 1) / 2) + 6, ceil((10 + 1) / 2).
    const half = { ...releasedAutoencoder(), decoderLayersPerBlock: [0, 3, 3, 3, 3, 3] };
    assert.deepEqual(tailOf(half), { rowsPerLatent: 4, scale: 8, halo: 6 });
    const local = { ...config, decoderBlockTypes: config.decoderBlockTypes.map(() => 'ResBlock' as const) };
    assert.deepEqual([tailOf(local).rowsPerLatent, tailOf(local).scale], [1, 32]);
  });

  const variants: readonly [string, (config: AutoencoderConfig) => Partial<AutoencoderConfig>][] = [
    ['as the fixture has it', () => ({})],
    ['with pixel shuffle', () => ({ upsampleBlockType: 'pixel_shuffle' })],
    ['without a stage at full resolution', () => ({ decoderLayersPerBlock: [0, 1, 2, 1, 1, 1] })],
    [
      'with pixel shuffle and without a stage at full resolution',
      () => ({ decoderLayersPerBlock: [0, 2, 1, 1, 1, 1], upsampleBlockType: 'pixel_shuffle' }),
    ],
    ['without attention', ({ decoderBlockTypes }) => ({ decoderBlockTypes: decoderBlockTypes.map(() => 'ResBlock') })],
  ];
  for (const [what, changes] of variants) {
    for (const dtype of ['f32', 'bf16'] as const) {
      it(`give the image that the decoder makes all at once, ${what}, in ${dtype}`, async () => {
        const { config } = checkpoint.vae;
        const decoder = new AutoencoderDecoder(sharedDevice(), { ...config, ...changes(config) }, dtype);
        await fill(decoder.weights, 1);
        try {
          for (const shape of [
            [1, 1, 1],
            [2, 3, 2],
            [1, 5, 3],
          ]) {
            const data = new Random(2).uniform(
              shape.reduce((a, b) => a * b, 32),
              2,
            );
            const heights = [undefined, 1, 3, 8, 13, 1000];
            const results = await runGraph({ x: { shape: [...shape, 32], data } }, (g, input, output) => {
              const x = input('x', dtype);
              for (const bandRows of heights) output(String(bandRows), decoder.record(g, x, { bandRows }));
            });
            const whole = results.undefined?.data ?? assert.fail();
            for (const height of heights) {
              const banded = results[String(height)]?.data ?? assert.fail();
              assertSame(banded, whole, `${shape} in bands of ${height}`, dtype === 'f32' ? 1e-5 : 5e-2);
            }
          }
        } finally {
          decoder.weights.dispose();
        }
      });
    }
  }

  describe('of any layers', () => {
    /** Are two 3x3 convolutions the same in bands, when the first is said to see so many rows? */
    async function sameWhen(needs: (rows: Rows) => Rows): Promise<boolean> {
      const channels = 8;
      const x = { shape: [1, 9, 4, channels], data: new Random(3).uniform(9 * 4 * channels) };
      const weights = new Weights(sharedDevice(), 'kernel', 'f32');
      const kernel = weights.conv2d('kernel', channels, channels, 3);
      await fill(weights, 4);
      try {
        const layer = (sees: (rows: Rows) => Rows): LocalLayer => {
          return { record: (g, y) => g.conv2d(y, kernel), scale: 1, needs: sees };
        };
        const results = await runGraph({ x }, (g, input, output) => {
          output('whole', g.conv2d(g.conv2d(input('x'), kernel), kernel));
          output('bands', recordInBands(g, [layer(needs), layer(reaching(1))], input('x'), 2));
        });
        return errorOf(results.bands?.data ?? [], results.whole?.data ?? []).relL2 < 1e-6;
      } finally {
        weights.dispose();
      }
    }

    it('are right if a layer reports how far it reaches, and wrong if it reports less', async () => {
      assert.equal(await sameWhen(reaching(1)), true);
      assert.equal(await sameWhen(reaching(2)), true);
      assert.equal(await sameWhen(reaching(0)), false);
    });

    it('have the halo of all of them', () => {
      const record = () => assert.fail();
      const near = { record, scale: 1, needs: reaching(1) };
      const doubling = {
        ...near,
        scale: 2,
        needs: ({ first, end }: Rows) => ({ first: first >> 1, end: (end + 1) >> 1 }),
      };
      assert.equal(haloOf([]), 0);
      assert.equal(haloOf([near, near]), 2);
      assert.equal(haloOf([near, doubling, near]), 2);
    });
  });
});
