import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Component } from '../../lib/checkpoint/checkpoint.ts';
import type { Gemma2Config } from '../../lib/checkpoint/configs.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { addon, type NativeFile } from '../../lib/device/native.ts';
import type { Graph } from '../../lib/graph/graph.ts';
import { columns, entry, reshape, type Tensor } from '../../lib/graph/tensor.ts';
import { channelsFirst, channelsLast } from '../../lib/models/channel-order.ts';
import { rotaryAngles } from '../../lib/networks/gemma2.ts';
import { Weights } from '../../lib/networks/weights.ts';
import { runGraph, sharedDevice } from '../support/device.ts';
import { assertClose, fixtures, type Golden, GoldenFile, operatorTolerance, tolerances } from '../support/golden.ts';

const golden = new GoldenFile('ops');
const epsilon = 1e-15;

/** [B, C, H, W] as [B, H, W, C]. */
function nhwc({ shape, data }: Golden): Golden {
  const [b = 0, c = 0, h = 0, w = 0] = shape;
  return { shape: [b, h, w, c], data: channelsLast(data, b, c, h * w) };
}

function nchw({ shape, data }: Golden): Float32Array {
  const [b = 0, h = 0, w = 0, c = 0] = shape;
  return channelsFirst(data, b, c, h * w);
}

describe('operators against the float64 results of the reference', () => {
  let file: NativeFile;
  let component: Component<unknown>;
  before(async () => {
    file = addon().openFile(join(fixtures, 'golden/ops.safetensors'));
    const { tensors } = await readSafetensors(file);
    const common = { name: 'ops', config: {}, configPath: 'ops', variant: null, files: [], dtype: 'f32' } as const;
    component = { ...common, tensors, file: () => file };
  });
  after(() => file.close());

  /** Packs the weights that `declare` names, records a graph on them and returns its one output. */
  async function run(
    inputs: Parameters<typeof runGraph>[0],
    declare: (w: Weights) => (g: Graph, input: (name: string) => Tensor) => Tensor,
  ): Promise<Golden> {
    const weights = new Weights(sharedDevice(), 'ops', 'f32');
    const record = declare(weights);
    await weights.load(component, { others: /./ });
    try {
      const { out } = await runGraph(inputs, (g, input, output) => output('out', record(g, input)));
      return out ?? assert.fail();
    } finally {
      weights.dispose();
    }
  }

  function close(
    actual: ArrayLike<number>,
    name: string,
    tolerance = operatorTolerance(golden.get(`${name}.out`).data),
  ): void {
    assertClose(actual, golden.get(`${name}.out`).data, tolerance, name);
  }

  it('silu, gelu_tanh: activation', async () => {
    for (const [name, kind] of [
      ['silu', 'silu'],
      ['gelu_tanh', 'gelu-tanh'],
    ] as const) {
      const { data } = await run({ x: golden.get(`${name}.in`) }, () => (g, input) => g.activation(input('x'), kind));
      close(data, name);
    }
  });

  it('rms_norm, gemma_rms_norm: rmsNorm with a bias, and with 1 + weight', async () => {
    const plain = await run({ x: golden.get('rms_norm.in') }, (w) => {
      const weight = w.vector('rms_norm.weight', 64);
      const bias = w.vector('rms_norm.bias', 64);
      return (g, input) => g.rmsNorm(input('x'), weight, { epsilon: 1e-5, bias });
    });
    close(plain.data, 'rms_norm');
    const gemma = await run({ x: golden.get('gemma_rms_norm.in') }, (w) => {
      const weight = w.vector('gemma_rms_norm.weight', 64);
      return (g, input) => g.rmsNorm(input('x'), weight, { epsilon: 1e-6, offset: 1 });
    });
    close(gemma.data, 'gemma_rms_norm');
  });

  it('timestep_embedding: timestepEmbedding up to 1000', async () => {
    const timesteps = golden.get('timestep_embedding.timesteps');
    const { data } = await run({ t: timesteps }, () => (g, input) => g.timestepEmbedding(input('t'), 256));
    close(data, 'timestep_embedding', tolerances.timestepEmbedding);
  });

  it('modulated_norm_out: modulation, then layerNormModulate', async () => {
    const inputs = { x: golden.get('modulated_norm_out.in'), temb: golden.get('modulated_norm_out.temb') };
    const { data } = await run(inputs, (w) => {
      const table = w.table('modulated_norm_out.scale_shift_table', [2, 64]);
      return (g, input) => {
        const rows = g.modulation(table, input('temb'));
        return g.layerNormModulate(input('x'), entry(rows, 0), entry(rows, 1), 1e-6);
      };
    });
    close(data, 'modulated_norm_out');
  });

  for (const [name, heads] of [
    ['linear_attention', 2],
    ['linear_attention_large', 1],
  ] as const) {
    it(`${name}: linearAttention`, async () => {
      const [q, k, v] = ['q', 'k', 'v'].map((x) => golden.get(`${name}.${x}`));
      const [b = 0, n = 0, c = 0] = q?.shape ?? [];
      const qkv = new Float32Array(3 * b * n * c);
      [q, k, v].forEach((part, third) => {
        for (let row = 0; row < b * n; row++) {
          qkv.set(part?.data.subarray(row * c, (row + 1) * c) ?? [], (3 * row + third) * c);
        }
      });
      const { data } = await run(
        { qkv: { shape: [b, n, 3 * c], data: qkv } },
        () => (g, input) => g.linearAttention(input('qkv'), { headDim: c / heads, order: 'split', epsilon }),
      );
      close(data, name);
    });
  }

  it('attn1: three projections as one, linearAttention, the output projection', async () => {
    const { data } = await run({ x: golden.get('attn1.in') }, (w) => {
      const qkv = w.linear(
        ['q', 'k', 'v'].map((x) => `attn1.w.to_${x}.weight`),
        [64, 64, 64],
        64,
      );
      const out = w.linear(['attn1.w.to_out.0.weight'], [64], 64);
      const bias = w.vector('attn1.w.to_out.0.bias', 64);
      return (g, input) => {
        const attended = g.linearAttention(g.linear(input('x'), qkv), { headDim: 32, order: 'split', epsilon });
        return g.linear(attended, out, { bias });
      };
    });
    close(data, 'attn1');
  });

  it('cross_attention: crossAttention over the tokens that the mask keeps', async () => {
    const text = golden.get('cross_attention.encoder');
    const mask = golden.get('cross_attention.mask').data;
    const [b = 0, tokens = 0, c = 0] = text.shape;
    const kept = Array.from({ length: b * tokens }, (_, i) => i).filter((i) => mask[i] !== 0);
    const lengths = Array.from({ length: b }, (_, item) => kept.filter((i) => Math.floor(i / tokens) === item).length);
    const data = Float32Array.from(kept.flatMap((i) => [...text.data.subarray(i * c, (i + 1) * c)]));
    const inputs = { x: golden.get('cross_attention.in'), text: { shape: [kept.length, c], data } };
    const result = await run(inputs, (w) => {
      const p = 'cross_attention.w';
      const q = w.linear([`${p}.to_q.weight`], [c], c);
      const qBias = w.vector(`${p}.to_q.bias`, c);
      const kv = w.linear([`${p}.to_k.weight`, `${p}.to_v.weight`], [c, c], c);
      const kvBias = w.concat([`${p}.to_k.bias`, `${p}.to_v.bias`], c);
      const out = w.linear([`${p}.to_out.0.weight`], [c], c);
      const outBias = w.vector(`${p}.to_out.0.bias`, c);
      return (g, input) => {
        const both = g.linear(input('text'), kv, { bias: kvBias });
        const query = g.linear(input('x'), q, { bias: qBias });
        const options = { heads: 4, scale: 16 ** -0.5, lengths };
        const attended = g.crossAttention(query, columns(both, 0, c), columns(both, c, c), options);
        return g.linear(attended, out, { bias: outBias });
      };
    });
    close(result.data, 'cross_attention');
  });

  for (const [name, window] of [
    ['gemma_attention_full', 0],
    ['gemma_attention_sliding', 40],
  ] as const) {
    it(`${name}: rotaryEmbedding and causalAttention with soft-cap and grouped keys`, async () => {
      const x = golden.get('gemma_attention_full.in');
      const valid = golden.get('gemma_attention_full.valid').data;
      const [b = 0, tokens = 0, c = 0] = x.shape;
      const kept = Array.from({ length: b * tokens }, (_, i) => i).filter((i) => valid[i] !== 0);
      const lengths = Array.from(
        { length: b },
        (_, item) => kept.filter((i) => Math.floor(i / tokens) === item).length,
      );
      const rows = (values: Float32Array, width: number) =>
        Float32Array.from(kept.flatMap((i) => [...values.subarray(i * width, (i + 1) * width)]));
      const config = { headDim: 32, ropeTheta: 10000 } as Gemma2Config;
      const { cos, sin } = rotaryAngles(
        config,
        kept.map((i) => i % tokens),
      );
      const inputs = {
        x: { shape: [kept.length, c], data: rows(x.data, c) },
        cos: { shape: [kept.length, 16], data: cos },
        sin: { shape: [kept.length, 16], data: sin },
      };
      const { data } = await run(inputs, (w) => {
        const p = 'gemma_attention_full.w';
        const qkv = w.linear(
          ['q', 'k', 'v'].map((y) => `${p}.${y}_proj.weight`),
          [128, 64, 64],
          c,
        );
        const out = w.linear([`${p}.o_proj.weight`], [c], 128);
        return (g, input) => {
          const rotated = g.rotaryEmbedding(g.linear(input('x'), qkv), input('cos'), input('sin'), 6);
          const options = { heads: 4, kvHeads: 2, scale: 24 ** -0.5, softcap: 50, window, lengths };
          return g.linear(g.causalAttention(rotated, options), out);
        };
      });
      assertClose(data, rows(golden.get(`${name}.out`).data, c), tolerances.gemmaAttention, name);
    });
  }

  it('gemma_rope: the rotary angles of every seventh position', () => {
    const { cos, sin } = rotaryAngles(
      { headDim: 32, ropeTheta: 10000 } as Gemma2Config,
      Array.from({ length: 16 }, (_, i) => 7 * i),
    );
    for (const [name, half] of [
      ['cos', cos],
      ['sin', sin],
    ] as const) {
      const expected = golden.get(`gemma_rope.${name}`).data; // [16, 32]: both halves alike
      const both = Float32Array.from(expected, (_, i) => half[Math.floor(i / 32) * 16 + (i % 16)] ?? Number.NaN);
      assertClose(both, expected, tolerances.operator, name);
    }
  });

  for (const [name, c, f, normed] of [
    ['glumbconv', 64, 160, false],
    ['glumbconv_dcae', 16, 64, true],
  ] as const) {
    it(`${name}: linear with SiLU, depthwiseConvGlu, linear${normed ? ', rmsNorm + residual' : ''}`, async () => {
      const x = nhwc(golden.get(`${name}.in`));
      const result = await run({ x }, (w) => {
        const p = `${name}.w`;
        const inverted = w.linear([`${p}.conv_inverted.weight`], [2 * f], c, { convolution: true });
        const invertedBias = w.vector(`${p}.conv_inverted.bias`, 2 * f);
        const depth = w.depthwise(`${p}.conv_depth.weight`, 2 * f, 3);
        const depthBias = w.vector(`${p}.conv_depth.bias`, 2 * f);
        const point = w.linear([`${p}.conv_point.weight`], [c], f, { convolution: true });
        const norm = normed ? w.vector(`${p}.norm.weight`, c) : undefined;
        const bias = normed ? w.vector(`${p}.norm.bias`, c) : undefined;
        return (g, input) => {
          const expanded = g.linear(input('x'), inverted, { bias: invertedBias, activation: 'silu' });
          const projected = g.linear(g.depthwiseConvGlu(expanded, depth, depthBias), point);
          return norm === undefined
            ? projected
            : g.rmsNorm(projected, norm, { epsilon: 1e-5, bias, residual: input('x') });
        };
      });
      close(nchw(result), name);
    });
  }

  it('dcae_resblock: two conv2d, rmsNorm, residual', async () => {
    const result = await run({ x: nhwc(golden.get('dcae_resblock.in')) }, (w) => {
      const conv1 = w.conv2d('dcae_resblock.w.conv1.weight', 16, 16, 3);
      const conv1Bias = w.vector('dcae_resblock.w.conv1.bias', 16);
      const conv2 = w.conv2d('dcae_resblock.w.conv2.weight', 16, 16, 3);
      const norm = w.vector('dcae_resblock.w.norm.weight', 16);
      const bias = w.vector('dcae_resblock.w.norm.bias', 16);
      return (g, input) => {
        const hidden = g.conv2d(input('x'), conv1, { bias: conv1Bias, activation: 'silu' });
        return g.rmsNorm(g.conv2d(hidden, conv2), norm, { epsilon: 1e-5, bias, residual: input('x') });
      };
    });
    close(nchw(result), 'dcae_resblock');
  });

  for (const name of ['dcae_attention_linear', 'dcae_attention_quadratic']) {
    it(`${name}: multiScaleProject and interleaved linearAttention`, async () => {
      const x = nhwc(golden.get(`${name}.in`));
      const [b = 0, h = 0, w2 = 0, c = 0] = x.shape;
      const result = await run({ x }, (w) => {
        const p = 'dcae_attention_linear.w';
        const qkv = w.linear(
          ['q', 'k', 'v'].map((y) => `${p}.to_${y}.weight`),
          [c, c, c],
          c,
        );
        const depthwise = w.depthwise(`${p}.to_qkv_multiscale.0.proj_in.weight`, 3 * c, 5);
        const pointwise = w.table(`${p}.to_qkv_multiscale.0.proj_out.weight`, [3 * c, 32], [3 * c, 32, 1, 1]);
        const out = w.linear([`${p}.to_out.weight`], [c], 2 * c);
        const norm = w.vector(`${p}.norm_out.weight`, c);
        const bias = w.vector(`${p}.norm_out.bias`, c);
        return (g, input) => {
          const all = g.empty('f32', [b, h, w2, 6 * c]);
          const first = g.linear(input('x'), qkv, { into: columns(all, 0, 3 * c) });
          g.multiScaleProject(first, depthwise, pointwise, { into: columns(all, 3 * c, 3 * c) });
          const tokens = reshape(all, [b, h * w2, 6 * c]);
          const attended = g.linearAttention(tokens, { headDim: 32, order: 'interleaved', epsilon });
          const projected = g.linear(reshape(attended, [b, h, w2, 2 * c]), out);
          return g.rmsNorm(projected, norm, { epsilon: 1e-5, bias, residual: input('x') });
        };
      });
      close(nchw(result), name);
    });
  }

  it('dcae_up_interpolate: upsampleConv2d with a shuffled shortcut', async () => {
    const result = await run({ x: nhwc(golden.get('dcae_up_interpolate.in')) }, (w) => {
      const weight = w.conv2d('dcae_up_interpolate.w.conv.weight', 16, 32, 3, 'upsampleConv2d');
      const bias = w.vector('dcae_up_interpolate.w.conv.bias', 16);
      return (g, input) => g.upsampleConv2d(input('x'), weight, { bias, residual: g.pixelShuffle(input('x'), 2, 16) });
    });
    close(nchw(result), 'dcae_up_interpolate');
  });

  it('dcae_up_shuffle, dcae_down_unshuffle: a convolution, then pixels moved, with a shortcut', async () => {
    const up = await run({ x: nhwc(golden.get('dcae_up_shuffle.in')) }, (w) => {
      const weight = w.conv2d('dcae_up_shuffle.w.conv.weight', 32, 16, 3);
      const bias = w.vector('dcae_up_shuffle.w.conv.bias', 32);
      return (g, input) =>
        g.pixelShuffle(g.conv2d(input('x'), weight, { bias }), 2, 8, { residual: g.pixelShuffle(input('x'), 2, 8) });
    });
    close(nchw(up), 'dcae_up_shuffle');
    const down = await run({ x: nhwc(golden.get('dcae_down_unshuffle.in')) }, (w) => {
      const weight = w.conv2d('dcae_down_unshuffle.w.conv.weight', 4, 8, 3);
      const bias = w.vector('dcae_down_unshuffle.w.conv.bias', 4);
      return (g, input) =>
        g.pixelUnshuffle(g.conv2d(input('x'), weight, { bias }), 2, 16, {
          residual: g.pixelUnshuffle(input('x'), 2, 16),
        });
    });
    close(nchw(down), 'dcae_down_unshuffle');
  });

  it('dcae_down_conv: conv2d of stride 2 with an averaged shortcut', async () => {
    const result = await run({ x: nhwc(golden.get('dcae_down_conv.in')) }, (w) => {
      const weight = w.conv2d('dcae_down_conv.w.conv.weight', 32, 16, 3);
      const bias = w.vector('dcae_down_conv.w.conv.bias', 32);
      return (g, input) =>
        g.conv2d(input('x'), weight, { bias, stride: 2, residual: g.pixelUnshuffle(input('x'), 2, 32) });
    });
    close(nchw(result), 'dcae_down_conv');
  });

  it('pixel_shuffle, pixel_unshuffle', async () => {
    const shuffled = await run(
      { x: nhwc(golden.get('pixel_shuffle.in')) },
      () => (g, input) => g.pixelShuffle(input('x'), 2, 2),
    );
    close(nchw(shuffled), 'pixel_shuffle');
    const unshuffled = await run(
      { x: nhwc(golden.get('pixel_unshuffle.in')) },
      () => (g, input) => g.pixelUnshuffle(input('x'), 2, 32),
    );
    close(nchw(unshuffled), 'pixel_unshuffle');
  });
});
