import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Checkpoint, openCheckpoint } from '../../lib/checkpoint/checkpoint.ts';
import { readTensors, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { reshape, Storage } from '../../lib/graph/tensor.ts';
import { channelsLast } from '../../lib/models/channel-order.ts';
import type { TextContext } from '../../lib/networks/sana-block.ts';
import { ControlNet } from '../../lib/networks/sana-controlnet.ts';
import { SanaTransformer } from '../../lib/networks/sana-transformer.ts';
import { writeRandomCheckpoint } from '../../scripts/random-checkpoint/checkpoint.ts';
import { runGraph, sharedDevice } from '../support/device.ts';
import { sanaError } from '../support/errors.ts';
import { openFile } from '../support/files.ts';
import { assertClose, errorOf, GoldenFile, tolerances } from '../support/golden.ts';
import { layOver } from '../support/pipelines.ts';
import { Random } from '../support/random.ts';
import { tinyCheckpoint } from '../support/random-checkpoints.ts';
import { keptRows } from '../support/text-rows.ts';

const [batch, channels, height, width] = [2, 64, 8, 8];
const pixels = height * width;

describe('ControlNet', () => {
  const golden = new GoldenFile('controlnet');
  const recordedScale = Number(golden.metadata.conditioning_scale);
  let laid: ReturnType<typeof layOver>;
  let checkpoint: Checkpoint;
  before(async () => {
    laid = layOver('sana-controlnet');
    checkpoint = await openCheckpoint(laid.path);
  });
  after(() => {
    checkpoint.close();
    laid.remove();
  });

  const controlnet = () => checkpoint.controlnet ?? assert.fail();

  /** The recorded forward: the velocity, and what each block of the ControlNet adds. */
  async function forward(dtype: 'f32' | 'bf16', scale = recordedScale): Promise<Record<string, Float32Array>> {
    const device = sharedDevice();
    const base = new SanaTransformer(device, checkpoint.transformer.config, dtype);
    const control = new ControlNet(device, controlnet().config, checkpoint.transformer.config, dtype);
    const rows = keptRows(golden.get('in.encoder_hidden_states'), golden.get('in.encoder_attention_mask'));
    const context = new Storage(device, 'keys and values');
    const textOf = ({ layers }: { readonly layers: number }): TextContext => ({
      keysValues: Array.from({ length: layers }, () => context.reserve(dtype, [rows.shape[0], 2 * channels])),
      lengths: rows.lengths,
    });
    const [text, controlText] = [textOf(base), textOf(control)];
    const map = (name: string) => ({
      shape: [batch, pixels, 32],
      data: channelsLast(golden.get(name).data, batch, 32, pixels),
    });
    try {
      await base.weights.load(checkpoint.transformer);
      await control.weights.load(controlnet());
      context.allocate();
      const results = await runGraph(
        {
          latents: map('in.latents'),
          control: map('in.controlnet_cond'),
          timestep: golden.get('in.timestep'),
          embeds: rows,
          scale: { shape: [1, channels], data: new Float32Array(channels).fill(scale) },
          zeros: { shape: [batch, pixels, channels], data: new Float32Array(batch * pixels * channels) },
        },
        (g, input, output) => {
          base.recordContext(g, input('embeds', dtype), text.keysValues);
          control.recordContext(g, input('embeds', dtype), controlText.keysValues);
          const asMap = (name: string) => reshape(g.convert(input(name), { dtype }), [batch, height, width, 32]);
          const picture = g.empty(dtype, [batch, pixels, channels]);
          control.recordPicture(g, asMap('control'), picture);
          const seen = { latents: asMap('latents'), timestep: input('timestep') };
          const steering = { ...seen, text: controlText, picture, scale: input('scale') };
          const alone = control.record(g, steering);
          output('block_sample.0', alone(1, input('zeros', dtype)));
          output('block_sample.1', alone(2, input('zeros', dtype)));
          const velocity = base.record(g, { ...seen, text, afterBlock: control.record(g, steering) });
          output('transformer_output', g.transpose(reshape(velocity, [batch, pixels, 32])));
        },
      );
      return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data]));
    } finally {
      context.dispose();
      base.weights.dispose();
      control.weights.dispose();
    }
  }

  it('agrees with the reference in f32: what each block adds, and the steered velocity', async () => {
    const actual = await forward('f32');
    for (const name of ['block_sample.0', 'block_sample.1']) {
      assertClose(actual[name] ?? [], golden.get(name).data, tolerances.transformerInner, name);
    }
    const output = golden.get('transformer_output').data;
    assertClose(actual.transformer_output ?? [], output, tolerances.transformer, 'output');
    // Far enough from the transformer's own result to show that every part contributes.
    const unsteered = await forward('f32', 0);
    assert.ok(errorOf(unsteered.transformer_output ?? [], output).relL2 > 0.05);
  });

  it('stays near the f32 reference in bf16', async () => {
    const actual = await forward('bf16');
    const { relL2 } = errorOf(actual.transformer_output ?? [], golden.get('transformer_output').data);
    assert.ok(relL2 <= 1.5e-2, `rel_l2 ${relL2}`);
  });

  it('adds nothing with a scale of 0, and twice as much with twice the scale', async () => {
    const [none, half, all] = [await forward('f32', 0), await forward('f32', 0.4), await forward('f32', 0.8)];
    assert.ok((none['block_sample.1'] ?? []).every((value) => value === 0));
    const doubled = (half['block_sample.1'] ?? new Float32Array()).map((value) => 2 * value);
    assertClose(all['block_sample.1'] ?? [], doubled, { maxAbs: 1e-5, relL2: 1e-6 });
  });

  it("adds the transformer's own hidden states if it is a copy of its blocks without a picture", async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sana-native-'));
    const path = join(folder, 'random');
    const dimensions = { layers: 4, controlLayers: 3, heads: 9, crossHeads: 4, textHidden: 40 };
    await writeRandomCheckpoint(path, { ...(await tinyCheckpoint(dimensions)), variant: 'none', seed: 8 });
    await copyBlocks(path, 3, 9 * 32);
    const random = await openCheckpoint(path);
    const [device, [b, h, w], c] = [sharedDevice(), [2, 3, 5], 9 * 32];
    const { transformer, controlnet: own = assert.fail() } = random;
    const base = new SanaTransformer(device, transformer.config, 'f32');
    const control = new ControlNet(device, own.config, transformer.config, 'f32');
    const context = new Storage(device, 'keys and values');
    const textOf = ({ layers }: { readonly layers: number }): TextContext => ({
      keysValues: Array.from({ length: layers }, () => context.reserve('f32', [7, 2 * c])),
      lengths: [4, 3],
    });
    const [text, controlText] = [textOf(base), textOf(control)];
    try {
      await base.weights.load(transformer);
      await control.weights.load(own);
      context.allocate();
      const values = new Random(8);
      const tensor = (...shape: number[]) => ({ shape, data: values.normal(shape.reduce((x, y) => x * y)) });
      const actual = await runGraph(
        {
          latents: tensor(b, h, w, 32),
          control: tensor(1, h, w, 32),
          embeds: tensor(7, 40),
          timestep: { shape: [1], data: [321] },
          scale: { shape: [1, c], data: new Float32Array(c).fill(1) },
          zeros: { shape: [b, h * w, c], data: new Float32Array(b * h * w * c) },
        },
        (g, input, output) => {
          base.recordContext(g, input('embeds'), text.keysValues);
          control.recordContext(g, input('embeds'), controlText.keysValues);
          const picture = g.empty('f32', [1, h * w, c]);
          control.recordPicture(g, input('control'), picture);
          const seen = { latents: input('latents'), timestep: input('timestep') };
          const afterBlock = control.record(g, { ...seen, text: controlText, picture, scale: input('scale') });
          for (let i = 0; i < 3; i++) output(`added ${i}`, afterBlock(i + 1, input('zeros')));
          base.record(g, { ...seen, text }, (name, hidden) => {
            if (/^block \d$/.test(name)) output(name, hidden);
          });
        },
      );
      for (let i = 0; i < 3; i++)
        assert.deepEqual(actual[`added ${i}`]?.data, actual[`block ${i}`]?.data, `block ${i}`);
    } finally {
      context.dispose();
      base.weights.dispose();
      control.weights.dispose();
      random.close();
      rmSync(folder, { recursive: true });
    }
  });

  it('is rejected by name if it does not fit the transformer', () => {
    const base = checkpoint.transformer.config;
    for (const [changes, ...parts] of [
      [{ numAttentionHeads: 3 }, 'has 96 channels, the transformer has 64'],
      [{ inChannels: 16 }, 'has 16 in_channels, the transformer has 32'],
      [{ captionChannels: 32 }, 'has 32 caption_channels'],
      [{ numLayers: 3 }, 'has 3 blocks, the transformer has 3'],
      [{ qkNorm: 'rms_norm_across_heads' }, 'asks for qk_norm'],
      [{ interpolationScale: 1 }, 'asks for interpolation_scale 1'],
      [{ guidanceEmbeds: true }, 'asks for guidance_embeds'],
      [{ patchSize: 2 }, 'patch_size 2'],
    ] as const) {
      const make = () => new ControlNet(sharedDevice(), { ...controlnet().config, ...changes }, base, 'f32');
      assert.throws(make, sanaError('ERR_SANA_MODEL', ...parts));
    }
    const sprint = { ...base, guidanceEmbeds: true };
    const make = () => new ControlNet(sharedDevice(), controlnet().config, sprint, 'f32');
    assert.throws(make, sanaError('ERR_SANA_MODEL', 'Sprint'));
  });
});

/** Makes the ControlNet of a checkpoint a copy of its transformer, with nothing in and everything out. */
async function copyBlocks(path: string, layers: number, c: number): Promise<void> {
  const file = (name: string) => join(path, name, 'diffusion_pytorch_model.safetensors');
  const tensors = await readTensors(file('transformer'), openFile);
  const own = await readTensors(file('controlnet'), openFile);
  for (const name of own.keys()) {
    const copied = tensors.get(name);
    if (copied !== undefined) own.set(name, copied);
  }
  const zeros = (...shape: number[]) => ({ shape, data: new Float32Array(shape.reduce((x, y) => x * y)) });
  const identity = zeros(c, c);
  for (let i = 0; i < c; i++) identity.data[i * c + i] = 1;
  own.set('input_block.weight', zeros(c, c)).set('input_block.bias', zeros(c));
  for (let i = 0; i < layers; i++) {
    own.set(`controlnet_blocks.${i}.weight`, identity).set(`controlnet_blocks.${i}.bias`, zeros(c));
  }
  await writeSafetensors(file('controlnet'), own);
}
