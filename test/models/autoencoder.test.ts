import assert from 'node:assert/strict';
import { type Checkpoint, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { openDevice } from '../../lib/device/devices.ts';
import { Autoencoder, type PictureProgram } from '../../lib/models/autoencoder.ts';
import { channelsLast } from '../../lib/models/channel-order.ts';
import { Engine } from '../../lib/models/engine.ts';
import { releasedAutoencoder, withoutWeights } from '../../scripts/random-checkpoint/released.ts';
import { testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { fixture } from '../support/files.ts';
import { assertClose, GoldenFile, tolerances } from '../support/golden.ts';
import { Random } from '../support/random.ts';

/** An engine on a device with that many free bytes, in addition to its arena. */
function engineWith(freeBytes: number): Engine {
  const lease = openDevice(testDevice);
  lease.freeBytes = () => freeBytes;
  return new Engine(lease);
}

const bytesOf = ({ plan, stateBytes }: PictureProgram) => plan.arenaBytes + stateBytes;

describe('the autoencoder', () => {
  let checkpoint: Checkpoint;
  before(async () => {
    checkpoint = await openCheckpoint(fixture('sana-base'));
  });
  after(() => checkpoint.close());

  async function withFree<T>(
    freeBytes: number,
    use: (autoencoder: Autoencoder) => Promise<T>,
    dtype: 'f32' | 'bf16' = 'f32',
  ): Promise<T> {
    const engine = engineWith(freeBytes);
    const autoencoder = new Autoencoder(engine, checkpoint.vae, dtype);
    try {
      return await use(autoencoder);
    } finally {
      autoencoder.dispose();
      engine.dispose();
    }
  }

  describe('if memory is short', () => {
    const [h, w] = [8, 6];
    const latents = new Random(1).uniform(h * w * 32, 2);
    const sizes = {
      'of the size drawn': { height: 256, width: 192 },
      'resized and cropped': { height: 300, width: 160 },
    };

    for (const dtype of ['f32', 'bf16'] as const) {
      for (const [what, size] of Object.entries(sizes)) {
        it(`decodes the same picture, ${what}, in ${dtype}`, async () => {
          const decode = (autoencoder: Autoencoder) => autoencoder.decodeRgb(latents, h, w, size);
          const plan = (freeBytes: number) =>
            withFree(freeBytes, async (autoencoder) => autoencoder.planRgb(h, w, size, freeBytes), dtype);
          const whole = await withFree(1e9, decode, dtype);
          const [most, least] = [bytesOf(await plan(1e9)), bytesOf(await plan(0))];
          const heights = new Set<number | undefined>();
          for (const freeBytes of [most, (most + least) / 2, least]) {
            heights.add((await plan(freeBytes)).bandRows);
            const banded = await withFree(freeBytes, decode, dtype);
            // On a GPU how a long sum is split depends on the shapes: a level here and there.
            const levels = testDevice === 'cpu' ? 0 : 2;
            const wrong = banded.findIndex((byte, i) => Math.abs(byte - (whole[i] ?? 0)) > levels);
            assert.equal(wrong, -1, `with ${freeBytes} bytes free, byte ${wrong}`);
          }
          assert.ok(heights.size > 1 && !heights.has(undefined), `bands of ${[...heights]} rows`);
        });
      }
    }

    it('decodes tensors the same', async () => {
      const z = { data: latents, shape: [3, 32, 4, 4] };
      const whole = await withFree(1e9, (autoencoder) => autoencoder.decode(z));
      const banded = await withFree(3e6, (autoencoder) => autoencoder.decode(z));
      if (testDevice === 'cpu') assert.deepEqual(banded, whole);
      assertClose(banded.data, whole.data, tolerances.decode);
    });

    it('reports that not even bands fit, and keeps no memory', async () => {
      await withFree(1e5, async (autoencoder) => {
        const short = sanaError('ERR_SANA_MEMORY', /autoencoder decode needs .* free/);
        await assert.rejects(autoencoder.decodeRgb(latents, h, w, { height: 256, width: 192 }), short);
        await assert.rejects(autoencoder.decode({ data: latents, shape: [1, 32, h, w] }), short);
      });
    });
  });

  describe('of the released models, as planned', () => {
    const planned = (dtype: 'f32' | 'bf16', size: number, freeBytes?: number, cropped = size) => {
      const engine = engineWith(0);
      const autoencoder = new Autoencoder(engine, withoutWeights(releasedAutoencoder()), dtype);
      const stage = autoencoder.planRgb(size / 32, size / 32, { height: cropped, width: size }, freeBytes);
      engine.dispose();
      return { bytes: bytesOf(stage), bandRows: stage.bandRows };
    };

    it('decodes 4096 x 4096 pixels in less than 3 GB plus the weights in bf16, twice that in f32', () => {
      const bf16 = planned('bf16', 4096, 3e9);
      assert.ok(bf16.bytes < 3e9, `${bf16.bytes} bytes`);
      assert.equal(bf16.bandRows, 512);
      const f32 = planned('f32', 4096, 6e9);
      assert.ok(f32.bytes < 6e9, `${f32.bytes} bytes`);
      assert.equal(f32.bandRows, 512);
      assert.ok(planned('bf16', 4096, 3e9, 4000).bytes < 3e9);
    });

    it('decodes without bands what fits, and higher pictures in bands of at most 1024 rows', () => {
      assert.equal(planned('bf16', 1024).bandRows, undefined);
      assert.equal(planned('bf16', 1024, 1e9).bandRows, undefined);
      assert.equal(planned('bf16', 2048).bandRows, 1024);
      const { bytes, bandRows } = planned('bf16', 4096);
      assert.equal(bandRows, 1024);
      assert.ok(bytes < 4e9, `${bytes} bytes`);
    });
  });

  describe('blends tiles as the reference does', () => {
    const golden = new GoldenFile('vae_tiled');
    const z = golden.get('in.z'); // [1, 32, 5, 4]
    const tilings = { a: { size: 96, stride: 64 }, b: { size: 64, stride: 32 } };

    for (const [name, tiling] of Object.entries(tilings)) {
      const expected = golden.get(`image.${name}`);

      it(`of ${tiling.size} pixels, decoding tensors`, async () => {
        const image = await withFree(1e9, (autoencoder) => autoencoder.decode(z, { tiling }));
        assert.deepEqual(image.shape, expected.shape);
        assertClose(image.data, expected.data, tolerances.decode);
      });

      it(`of ${tiling.size} pixels, decoding to bytes, with the programs that were planned`, async () => {
        const size = { height: 160, width: 128 };
        const { scalingFactor } = checkpoint.vae.config;
        const latents = channelsLast(z.data, 1, 32, 20).map((x) => x * scalingFactor);
        const [bytes, stages] = await withFree(1e9, async (autoencoder) => [
          await autoencoder.decodeRgb(latents, 5, 4, size, { tiling }),
          autoencoder.planDecode(5, 4, size, 1e9, tiling),
        ]);
        const levels = channelsLast(expected.data, 1, 3, 160 * 128).map(
          (x) => 127.5 * Math.min(1, Math.max(-1, x)) + 127.5,
        );
        assert.ok(bytes.every((byte, i) => Math.abs(byte - (levels[i] ?? 0)) < 0.51));
        const runs = stages.map(({ name: stage, runs: times }) => [stage, times]);
        assert.deepEqual(
          runs,
          name === 'a'
            ? [
                ['decode tile', 2],
                ['decode tile', 2],
                ['decode tile', 1],
                ['decode tile', 1],
                ['decode blended', 1],
              ]
            : [
                ['decode tile', 12],
                ['decode tile', 4],
                ['decode tile', 3],
                ['decode tile', 1],
                ['decode blended', 1],
              ],
        );
      });
    }

    it('encoding', async () => {
      const { shape, data } = new GoldenFile('vae_encode').get('tiled.in.image_u8');
      const image = { shape, data: data.map((byte) => Math.fround(byte / 127.5) - 1) };
      const latents = await withFree(1e9, (autoencoder) => autoencoder.encode(image, { tiling: tilings.a }));
      const expected = new GoldenFile('vae_encode').get('tiled.latent');
      assert.deepEqual(latents.shape, expected.shape);
      assertClose(latents.data, expected.data, tolerances.encode);
    });

    it('only if a picture is larger than a tile', async () => {
      const [tiled, whole] = await withFree(1e9, async (autoencoder) => [
        await autoencoder.decode(z, { tiling: { size: 160, stride: 96 } }),
        await autoencoder.decode(z),
      ]);
      assert.deepEqual(tiled, whole);
    });
  });
});
