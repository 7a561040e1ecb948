import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Block, reshape } from '../../lib/graph/tensor.ts';
import { SanaTransformer } from '../../lib/models/sana-transformer.ts';
import { channelsLast } from '../../lib/pipeline/layout.ts';
import { type Checkpoint, openCheckpoint } from '../../lib/runtime/checkpoint.ts';
import { readTensor } from '../../lib/runtime/tensor-file.ts';
import { runGraph, sharedDevice } from '../support/device.ts';
import { assertClose, errorOf, fixtures, type Golden, GoldenFile, tolerances } from '../support/golden.ts';

const golden = new GoldenFile('transformer_base');
const batch = 2;
const height = 8;
const width = 8;
const channels = 64;
const pixels = height * width;

/** [B, N, C] plus a gate [B, C] times [B, N, C]. */
function plusGated(h: ArrayLike<number>, gate: (b: number, c: number) => number, x: ArrayLike<number>): Float32Array {
  return Float32Array.from(h, (value, i) => {
    const c = i % channels;
    return value + gate(Math.floor(i / (pixels * channels)), c) * (x[i] ?? 0);
  });
}

describe('SanaTransformer', () => {
  let checkpoint: Checkpoint;
  before(async () => {
    checkpoint = await openCheckpoint(join(fixtures, 'sana-base'));
  });
  after(() => checkpoint.close());

  async function forward(dtype: 'f32' | 'bf16'): Promise<Record<string, { data: Float32Array }>> {
    const { transformer } = checkpoint;
    const model = new SanaTransformer(sharedDevice(), transformer.config, dtype);
    await model.weights.load(transformer);
    const latents = golden.get('in.latents');
    const mask = golden.get('in.encoder_attention_mask');
    const hidden = golden.get('in.encoder_hidden_states');
    const [, tokens = 0, captionChannels = 0] = hidden.shape;
    const rows: number[] = [];
    const lengths = [0, 0];
    for (let b = 0; b < batch; b++) {
      for (let t = 0; t < tokens; t++) {
        if (mask.data[b * tokens + t] === 0) continue;
        rows.push(b * tokens + t);
        lengths[b] = (lengths[b] ?? 0) + 1;
      }
    }
    const kept = rows.flatMap((row) => [...hidden.data.subarray(row * captionChannels, (row + 1) * captionChannels)]);
    const context = new Block(sharedDevice(), 'keys and values');
    const keysValues = Array.from({ length: model.layers }, () => context.reserve(dtype, [rows.length, 2 * channels]));
    context.allocate();
    try {
      return await runGraph(
        {
          latents: { shape: [batch, pixels, 32], data: channelsLast(latents.data, batch, 32, pixels) },
          timestep: golden.get('in.timestep'),
          embeds: { shape: [rows.length, captionChannels], data: kept },
        },
        (g, input, output) => {
          model.recordContext(g, input('embeds', dtype), keysValues);
          const map = reshape(g.convert(input('latents'), { dtype }), [batch, height, width, 32]);
          const velocity = model.record(g, map, input('timestep'), { keysValues, lengths }, output);
          output('output', g.transpose(reshape(velocity, [batch, pixels, 32])));
        },
      );
    } finally {
      context.dispose();
      model.weights.dispose();
    }
  }

  it('agrees with the reference in f32: every block, every branch of the first one, and the velocity', async () => {
    const actual = await forward('f32');
    const close = (name: string, expected: ArrayLike<number>) =>
      assertClose(actual[name]?.data ?? [], expected, tolerances.transformerInner, name);
    const patch = golden.get('patch_embed').data;
    close('patch', patch);

    // The reference records a branch's output; here the gate and the residual are part of the same operator.
    const table = await readTensor(
      join(fixtures, 'sana-base/transformer/diffusion_pytorch_model-00001-of-00003.safetensors'),
      'transformer_blocks.0.scale_shift_table',
    );
    const modulation = golden.get('time_embed.modulation').data; // [B, 6C]
    const gate = (row: number) => (b: number, c: number) =>
      (modulation[b * 6 * channels + row * channels + c] ?? 0) + (table.data[row * channels + c] ?? 0);
    const afterAttention = plusGated(patch, gate(2), golden.get('block.0.attn1').data);
    close('block 0 attn1', afterAttention);
    const afterCross = plusGated(afterAttention, () => 1, golden.get('block.0.attn2').data);
    close('block 0 attn2', afterCross);
    const ff = channelsLast(golden.get('block.0.ff').data, batch, channels, pixels);
    close('block 0', plusGated(afterCross, gate(5), ff));
    for (let i = 0; i < 3; i++) close(`block ${i}`, golden.get(`block.${i}`).data);
    close('norm_out', golden.get('norm_out').data);
    assertClose(actual.output?.data ?? [], golden.get('output').data, tolerances.transformer, 'output');
  });

  it('stays near the f32 reference in bf16, as near as the reference in bf16 allows', async () => {
    const actual = await forward('bf16');
    const expected: Golden = golden.get('output');
    const reference = errorOf(golden.get('output_bf16run').data, expected.data).relL2;
    const { relL2 } = errorOf(actual.output?.data ?? [], expected.data);
    assert(relL2 <= 3 * reference, `rel_l2 ${relL2} against the reference's own ${reference}`);
  });
});
