import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { reshape, Storage } from '../../lib/graph/tensor.ts';
import { SanaTransformer } from '../../lib/networks/sana-transformer.ts';
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint/checkpoint.ts';
import type { ModelKind } from '../../scripts/random-checkpoint/configs.ts';
import { runGraph, sharedDevice } from '../support/device.ts';
import { temporaryFolder } from '../support/files.ts';
import { errorOf } from '../support/golden.ts';
import { Random } from '../support/random.ts';
import { tinyCheckpoint } from '../support/random-checkpoints.ts';

const channels = 96;
const tokens = 9;
const height = 6;
const width = 5;

/** The released depths. */
const cases: readonly { kind: ModelKind; layers: number; timestep: number; other: number }[] = [
  { kind: 'sana', layers: 28, timestep: 700, other: 300 },
  { kind: 'sana-2k', layers: 20, timestep: 700, other: 300 },
  { kind: 'sana-4k', layers: 20, timestep: 700, other: 300 },
  { kind: 'sana-1.5', layers: 60, timestep: 700, other: 300 },
  { kind: 'sprint', layers: 28, timestep: 1, other: 0.6 },
];

describe('random transformers as deep as the released ones', () => {
  const folder = temporaryFolder();

  for (const { kind, layers, timestep, other } of cases) {
    it(`${kind}, ${layers} blocks: values stay near unit size, in f32 and bf16, and every input counts`, async () => {
      const path = join(folder.path, kind);
      const made = await tinyCheckpoint({ kind, layers, heads: 3, crossHeads: 3 });
      await writeRandomCheckpoint(path, { ...made, variant: 'none', seed: 5 });
      const checkpoint = await openCheckpoint(path);
      try {
        const given = (dtype: 'f32' | 'bf16') => (changes: Partial<Inputs>) =>
          forward(new SanaTransformer(sharedDevice(), checkpoint.transformer.config, dtype), checkpoint.transformer, {
            seed: 1,
            timestep,
            guidance: 0.45,
            ...changes,
          });
        const first = await given('f32')({});
        for (const [name, { data }] of Object.entries(first)) {
          const size = Math.sqrt(data.reduce((sum, x) => sum + x * x, 0) / data.length);
          const most = name === 'output' ? 1.5 : 8;
          assert.ok(size > 0.2 && size < most, `${name}: ${size}`);
          assert.ok(
            data.every((x) => Math.abs(x) < 100),
            name,
          );
        }
        const velocity = first.output?.data ?? assert.fail();
        const differs = async (changes: Partial<Inputs>) =>
          errorOf((await given('f32')(changes)).output?.data ?? [], velocity).relL2;
        assert.ok((await differs({ seed: 2 })) > 0.01, 'the text counts');
        assert.ok((await differs({ timestep: other })) > 0.01, 'the time counts');
        if (kind === 'sprint') assert.ok((await differs({ guidance: 0.1 })) > 0.01, 'the guidance counts');
        const rounded = (await given('bf16')({})).output?.data ?? [];
        assert.ok(errorOf(rounded, velocity).relL2 < 0.1, 'bf16 is near f32');
      } finally {
        checkpoint.close();
      }
    });
  }
});

interface Inputs {
  readonly seed: number; // of the text
  readonly timestep: number;
  readonly guidance: number;
}

/** Every block's result and the velocity. */
async function forward(
  model: SanaTransformer,
  component: Parameters<SanaTransformer['weights']['load']>[0],
  { seed, timestep, guidance }: Inputs,
): Promise<Record<string, { data: Float32Array }>> {
  const { dtype } = model.weights;
  const { captionChannels, interpolationScale, guidanceEmbeds } = model.config;
  await model.weights.load(component);
  const context = new Storage(sharedDevice(), 'keys and values');
  const keysValues = Array.from({ length: model.layers }, () => context.reserve(dtype, [tokens, 2 * channels]));
  context.allocate();
  const pixels = height * width;
  try {
    return await runGraph(
      {
        latents: { shape: [1, pixels, 32], data: new Random(3).normal(pixels * 32) },
        timestep: { shape: [1], data: [timestep] },
        embeds: { shape: [tokens, captionChannels], data: new Random(seed).normal(tokens * captionChannels) },
        ...(guidanceEmbeds && { guidance: { shape: [1], data: [guidance] } }),
        ...(interpolationScale !== null && {
          positions: { shape: [1, pixels, channels], data: model.positions(height, width) },
        }),
      },
      (g, input, output) => {
        model.recordContext(g, input('embeds', dtype), keysValues);
        const inputs = {
          latents: reshape(g.convert(input('latents'), { dtype }), [1, height, width, 32]),
          timestep: input('timestep'),
          text: { keysValues, lengths: [tokens] },
          guidance: guidanceEmbeds ? input('guidance') : undefined,
          positions: interpolationScale === null ? undefined : input('positions'),
        };
        const velocity = model.record(g, inputs, (name, tensor) => {
          if (/^block \d+$/.test(name)) output(name, tensor);
        });
        output('output', velocity);
      },
    );
  } finally {
    context.dispose();
    model.weights.dispose();
  }
}
