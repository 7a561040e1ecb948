import assert from 'node:assert/strict';
import { type Checkpoint, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { reshape, Storage } from '../../lib/graph/tensor.ts';
import { SanaTransformer } from '../../lib/networks/sana-transformer.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { runGraph, sharedDevice, testDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { assertClose, errorOf } from '../support/golden.ts';
import { layOver, loadTiny, pictures, small, tinyModel } from '../support/pipelines.ts';
import { Random } from '../support/random.ts';

const channels = 64; // of the tiny transformer

describe('perturbed attention in the transformer', () => {
  let checkpoint: Checkpoint;
  before(async () => {
    checkpoint = await openCheckpoint(tinyModel);
  });
  after(() => checkpoint.close());

  it('leaves the other parts of the batch alone, and lets every token of its own attend only to itself', async () => {
    const { transformer } = checkpoint;
    const model = new SanaTransformer(sharedDevice(), transformer.config, 'f32');
    await model.weights.load(transformer);
    const random = new Random(3);
    const one = random.normal(16 * 32);
    const text = new Storage(sharedDevice(), 'text');
    const lengths = [5, 5];
    const keysValues = Array.from({ length: model.layers }, () => text.reserve('f32', [10, 2 * channels]));
    text.allocate();
    try {
      const hidden = random.normal(5 * channels);
      const run = (moved: Float32Array, blocks: readonly number[]) =>
        runGraph(
          {
            latents: { shape: [2, 4, 4, 32], data: [...moved, ...one] },
            timestep: { shape: [1], data: [500] },
            embeds: { shape: [10, channels], data: [...hidden, ...hidden] },
          },
          (g, input, output) => {
            model.recordContext(g, input('embeds'), keysValues);
            const velocity = model.record(
              g,
              {
                latents: input('latents'),
                timestep: input('timestep'),
                text: { keysValues, lengths },
                perturbation: blocks.length > 0 ? { parts: 2, blocks } : undefined,
              },
              (name, tensor) => {
                if (name === 'block 0 attn1') output('attn1', reshape(tensor, [2, 16, channels]));
              },
            );
            output('velocity', reshape(velocity, [2, 16, 32]));
          },
        );
      const half = (data: Float32Array | undefined, part: 0 | 1) => {
        const all = data ?? new Float32Array();
        return all.subarray((part * all.length) / 2, ((part + 1) * all.length) / 2);
      };
      const [plain, perturbed] = [await run(one, []), await run(one, [0])];
      assert.deepEqual(half(perturbed.velocity?.data, 1), half(plain.velocity?.data, 1));
      assert.ok(errorOf(half(perturbed.velocity?.data, 0), half(plain.velocity?.data, 0)).relL2 > 1e-3);
      // Another token of the perturbed part changes nothing for the rest after its attention.
      const moved = one.slice();
      moved.set(random.normal(32), 7 * 32);
      const other = await run(moved, [0]);
      const rest = (data: Float32Array) => data.filter((_, i) => Math.floor(i / channels) !== 7);
      assert.deepEqual(rest(half(other.attn1?.data, 0)), rest(half(perturbed.attn1?.data, 0)));
    } finally {
      text.dispose();
      model.weights.dispose();
    }
  });
});

describe('perturbed-attention guidance', () => {
  let pipe: SanaPipeline;
  before(async () => {
    pipe = await loadTiny();
  });
  after(() => pipe.dispose());

  it('is without effect at 0, and moves the picture continuously above', async () => {
    const request = { ...small, outputType: 'latent' } as const;
    const latents = async (pagScale?: number) =>
      (await pipe.generate({ ...request, ...(pagScale !== undefined && { pagScale }) })).latents?.data ??
      new Float32Array();
    const [none, zero, tiny, two] = [await latents(), await latents(0), await latents(1e-4), await latents(2)];
    assert.deepEqual(zero, none);
    assertClose(tiny, none, { maxAbs: 1e-2, relL2: 1e-3 });
    assert.ok(errorOf(two, none).relL2 > errorOf(tiny, none).relL2);
  });

  it('works without guidance, for batches and for several prompts, each image as its seed gives alone', async () => {
    const request = { ...small, pagScale: 2 };
    const two = await pipe.generate({ ...request, prompt: ['a fox', 'a red owl at night'], numImagesPerPrompt: 2 });
    const alone = await pipe.generate({ ...request, prompt: 'a red owl at night', seed: small.seed + 3 });
    assert.equal(pictures(two)[3], pictures(alone)[0]);
    const unguided = await pipe.generate({ ...request, guidanceScale: 1 });
    assert.equal(unguided.images[0]?.parameters?.pagScale, 2);
    assert.notDeepEqual(pictures(unguided), pictures(await pipe.generate({ ...small, guidanceScale: 1 })));
  });

  it('predicts its memory, and costs a third of a batch', async () => {
    const [plain, perturbed] = [await pipe.explain(small), await pipe.explain({ ...small, pagScale: 2 })];
    const flops = ({ stages }: typeof plain) => stages.find(({ name }) => name === 'denoise_step')?.flops ?? 0;
    assert.ok(Math.abs(flops(perturbed) / flops(plain) - 1.5) < 0.05);
    await pipe.generate({ ...small, pagScale: 2 });
  });

  it('is not for Sprint models', async () => {
    const laid = layOver('sana-sprint');
    try {
      await using sprint = await loadTinyFrom(laid.path);
      await assert.rejects(sprint.generate({ ...small, pagScale: 2 }), sanaError('ERR_SANA_ARGUMENT', 'pagScale'));
    } finally {
      laid.remove();
    }
  });

  it('has the norms of SANA-1.5, unlike the reference', async () => {
    const laid = layOver('sana15');
    try {
      await using pipe15 = await loadTinyFrom(laid.path);
      const { latents } = await pipe15.generate({ ...small, pagScale: 1e-4, outputType: 'latent' });
      const plain = await pipe15.generate({ ...small, outputType: 'latent' });
      assertClose(latents?.data ?? [], plain.latents?.data ?? [], { maxAbs: 1e-2, relL2: 1e-3 });
    } finally {
      laid.remove();
    }
  });

  async function loadTinyFrom(path: string): Promise<SanaPipeline> {
    return await SanaPipeline.fromPretrained(path, { dtype: 'float32', device: testDevice });
  }
});
