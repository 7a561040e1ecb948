import assert from 'node:assert/strict';
import { join } from 'node:path';
import { readTensor, type Tensor, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import type { TensorLike } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { TorchPeer } from '../../scripts/bench/peer.ts';
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint/checkpoint.ts';
import type { TinyDimensions } from '../../scripts/random-checkpoint/configs.ts';
import { testDevice } from '../support/device.ts';
import { openFile, temporaryFolder } from '../support/files.ts';
import { assertClose, errorOf, type Tolerance, tolerances } from '../support/golden.ts';
import { cpuPaths, onCpuPath, pictures, small, supportsCpuPath } from '../support/pipelines.ts';
import { Random } from '../support/random.ts';
import { tinyCheckpoint } from '../support/random-checkpoints.ts';

/** Head dims are the released ones: 32 in the transformer and the autoencoder, 72, 112 and 256 elsewhere. */
const checkpoints: readonly { name: string; dimensions: Partial<TinyDimensions>; seed: number }[] = [
  {
    name: 'cross-attention heads of 72, text heads of 256',
    dimensions: { layers: 3, heads: 9, crossHeads: 4, textLayers: 2, textHidden: 96, textHeadDim: 256 },
    seed: 1,
  },
  {
    name: 'cross-attention heads of 112, four text heads to a key',
    dimensions: { layers: 2, heads: 7, crossHeads: 2, textLayers: 3, textHidden: 72, textHeads: 8, textKvHeads: 2 },
    seed: 2,
  },
  {
    name: 'one head, a wider and deeper autoencoder',
    dimensions: { layers: 1, heads: 1, vaeWidth: 16, vaeLayers: 2, textKvHeads: 2 },
    seed: 3,
  },
  {
    name: 'many narrow cross-attention heads, three text heads',
    dimensions: { layers: 4, heads: 3, crossHeads: 12, textHidden: 40, textHeads: 3, textHeadDim: 6 },
    seed: 4,
  },
  {
    name: 'SANA-1.5, cross-attention heads of 112',
    dimensions: { kind: 'sana-1.5', layers: 5, heads: 7, crossHeads: 2, textHidden: 48 },
    seed: 5,
  },
  {
    name: 'SANA-Sprint, cross-attention heads of 72',
    dimensions: { kind: 'sprint', layers: 3, heads: 9, crossHeads: 4, textHidden: 40 },
    seed: 6,
  },
  {
    name: 'a model for 2K, three heads',
    dimensions: { kind: 'sana-2k', layers: 2, heads: 3, crossHeads: 2, textHidden: 40 },
    seed: 7,
  },
  {
    name: 'a model for 4K, five heads',
    dimensions: { kind: 'sana-4k', layers: 2, heads: 5, crossHeads: 2, textHidden: 40 },
    seed: 8,
  },
];

/** As the transformer reads it: the request's scale times `guidance_embeds_scale`. */
const embeddedGuidance = (scale: number) => Math.fround(scale * 0.1);

describe('checkpoints of other dimensions', function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  let peer: TorchPeer | undefined;
  before(async () => {
    peer = await TorchPeer.start(); // says why where there is none
  });
  after(async () => {
    await peer?.dispose();
  });

  for (const { name, dimensions, seed } of checkpoints) {
    describe(name, () => {
      const random = new Random(seed);
      const tensor = (...shape: number[]): TensorLike => ({
        data: random.normal(shape.reduce((a, b) => a * b)),
        shape,
      });
      const channels = dimensions.textHidden ?? 32;
      const latents = tensor(2, 32, 3, 5);
      const embeds = tensor(2, 11, channels);
      const mask = { data: Float32Array.from({ length: 22 }, (_, i) => (i < 11 || i < 15 ? 1 : 0)), shape: [2, 11] };
      const sprint = dimensions.kind === 'sprint';
      const timestep = sprint ? [1.25, 0.4] : [999, 321.5];
      const given = { latents, timestep, embeds, mask, ...(sprint && { guidance: 4.5 }) };
      const z = tensor(1, 32, 3, 4);
      const picture = { data: tensor(1, 3, 64, 96).data.map(Math.tanh), shape: [1, 3, 64, 96] };
      const prompt = 'a red fox, and a lighthouse by the sea';
      let path: string;
      let pipe: SanaPipeline;
      const open = () => SanaPipeline.fromPretrained(path, { device: testDevice, dtype: 'float32' });
      before(async () => {
        path = join(folder.path, String(seed));
        await writeRandomCheckpoint(path, { ...(await tinyCheckpoint(dimensions)), variant: 'none', seed });
        pipe = await open();
      });
      after(() => pipe.dispose());

      /** What the torch peer computes from `inputs`, or nothing if there is no torch. */
      async function reference(
        stage: 'denoise_step' | 'decode' | 'text_encode',
        inputs: Record<string, Tensor>,
      ): Promise<Tensor | undefined> {
        if (peer === undefined) return undefined;
        const file = join(folder.path, `${seed}-${stage}`);
        await writeSafetensors(`${file}-in`, new Map(Object.entries(inputs)));
        const outputs = `${file}-out`;
        await peer.reference({ stage, checkpoint: path, inputs: `${file}-in`, outputs, dtype: 'f32', threads: 1 });
        return await readTensor(outputs, 'output', openFile);
      }

      it('draws the same on every path of the CPU, except for rounding', async () => {
        const request = { ...small, prompt, width: 128, numInferenceSteps: 3 };
        const { images } = await pipe.generate(request);
        const made = images[0]?.data ?? assert.fail();
        assert.ok(new Set(made).size > 20, 'a picture, and no flat colour');
        const own = images[0]?.parameters.devicePath;
        for (const each of cpuPaths.filter((other) => other !== own && supportsCpuPath(other)).slice(0, 2)) {
          await using other = await onCpuPath(each, open);
          const [image] = (await other.generate(request)).images;
          const distances = made.map((byte, i) => Math.abs(byte - (image?.data[i] ?? 0)));
          assert.ok(Math.max(...distances) <= 1, each);
          assert.ok(distances.filter((d) => d > 0).length <= made.length / 100, each);
          const velocity = await pipe.transformer.forward(given);
          const same = await other.transformer.forward(given);
          assertClose(same.data, velocity.data, tolerances.transformer, each);
          const decoded = await pipe.autoencoder.decode(z);
          assertClose((await other.autoencoder.decode(z)).data, decoded.data, tolerances.decode, each);
          const encoded = await pipe.autoencoder.encode(picture);
          assertClose((await other.autoencoder.encode(picture)).data, encoded.data, tolerances.encode, each);
        }
        assert.deepEqual(pictures(await pipe.generate(request)), pictures({ images }));
      });

      it('has the transformer of the reference', async function () {
        const velocity = await pipe.transformer.forward(given);
        assert.deepEqual(velocity.shape, latents.shape);
        const expected = await reference('denoise_step', {
          latents,
          timestep: { data: Float32Array.from(timestep), shape: [2] },
          encoder_hidden_states: embeds,
          encoder_attention_mask: mask,
          ...(sprint && { guidance: { data: new Float32Array(2).fill(embeddedGuidance(4.5)), shape: [2] } }),
        });
        if (expected === undefined) this.skip();
        assertClose(velocity.data, expected.data, tolerances.transformer);
      });

      it('has the decoder of the reference', async function () {
        const image = await pipe.autoencoder.decode(z);
        assert.deepEqual(image.shape, [1, 3, 96, 128]);
        const expected = await reference('decode', { z });
        if (expected === undefined) this.skip();
        assertClose(image.data, expected.data, scaled(tolerances.decode, expected));
      });

      it('has the text encoder of the reference', async function () {
        const { embeds: ours } = await pipe.textEncoder.encode({ prompt, complexHumanInstruction: null });
        const { ids } = pipe.tokenizer.encode(prompt);
        const input = { data: Int32Array.from(ids), shape: [1, ids.length] };
        const ones = { data: new Int32Array(ids.length).fill(1), shape: input.shape };
        const expected = await reference('text_encode', { input_ids: input, attention_mask: ones });
        if (expected === undefined) this.skip();
        assert.deepEqual(ours.shape, expected.shape);
        assertClose(ours.data, expected.data, tolerances.textEncoder);
      });

      it('has an instruction that changes the text, whether its keys are kept or computed again', async () => {
        const request = { prompt, complexHumanInstruction: ['be brief', 'and kind'] };
        const first = await pipe.textEncoder.encode(request);
        await pipe.textEncoder.encode({ prompt, complexHumanInstruction: ['another'] });
        assert.deepEqual(await pipe.textEncoder.encode(request), first);
        const { embeds: without } = await pipe.textEncoder.encode({ prompt, complexHumanInstruction: null });
        assert.ok(errorOf(first.embeds.data.slice(-channels), without.data.slice(-channels)).relL2 > 1e-3);
      });
    });
  }
});

/** The table's tolerances are for pictures in [-1, 1]; random weights go beyond. */
function scaled({ maxAbs, relL2 }: Tolerance, expected: Tensor): Tolerance {
  const largest = (expected.data as Float32Array).reduce((m, x) => Math.max(m, Math.abs(x)), 1);
  return { maxAbs: maxAbs * largest, relL2 };
}
