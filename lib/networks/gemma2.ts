/**
 * The text encoder: Gemma-2's decoder stack without the language-model head (transformers' `Gemma2Model`).
 *
 * Sizes: T tokens of all sequences concatenated, C hidden size, H query heads and Hkv key heads of D channels, P tokens
 * of a prefix that every sequence continues.
 */

import type { Gemma2Config } from '../checkpoint/configs.ts';
import type { DType, NativeDevice } from '../device/native.ts';
import type { Graph } from '../graph/graph.ts';
import { columns, type Tensor } from '../graph/tensor.ts';
import { type ActivationDtype, Weights } from './weights.ts';

export const embeddingName = 'embed_tokens.weight';

interface LayerWeights {
  readonly qkv: Tensor; // [(H + 2 Hkv) D, C]
  readonly out: Tensor; // [C, H D]
  readonly gateUp: Tensor; // [2 * intermediate, C]
  readonly down: Tensor; // [C, intermediate]
  readonly inputNorm: Tensor; // [C], and the three below
  readonly postAttentionNorm: Tensor;
  readonly preFeedforwardNorm: Tensor;
  readonly postFeedforwardNorm: Tensor;
}

/** Cosines and sines of the rotary embedding for positions first .. first + count - 1, each [count, D/2] f32. */
export function rotaryAngles(
  config: Gemma2Config,
  positions: readonly number[],
): { cos: Float32Array; sin: Float32Array } {
  const half = config.headDim / 2;
  const cos = new Float32Array(positions.length * half);
  const sin = new Float32Array(positions.length * half);
  positions.forEach((position, row) => {
    for (let j = 0; j < half; j++) {
      const frequency = Math.fround(1 / Math.fround(config.ropeTheta ** Math.fround((2 * j) / config.headDim)));
      const angle = Math.fround(position * frequency);
      cos[row * half + j] = Math.cos(angle);
      sin[row * half + j] = Math.sin(angle);
    }
  });
  return { cos, sin };
}

export class Gemma2 {
  readonly config: Gemma2Config;
  /** Everything but the token embeddings: the few rows that a prompt needs are read from the file. */
  readonly weights: Weights;
  readonly #layers: readonly LayerWeights[];
  readonly #norm: Tensor; // [C]

  constructor(device: NativeDevice, config: Gemma2Config, dtype: ActivationDtype) {
    const w = new Weights(device, 'text encoder', dtype);
    const { hiddenSize: c, headDim: d, numAttentionHeads: h, numKeyValueHeads: hkv, intermediateSize: f } = config;
    this.config = config;
    this.weights = w;
    this.#layers = Array.from({ length: config.numHiddenLayers }, (_, i) => {
      const p = `layers.${i}`;
      const qkv = ['q', 'k', 'v'].map((x) => `${p}.self_attn.${x}_proj.weight`);
      const gateUp = ['gate', 'up'].map((x) => `${p}.mlp.${x}_proj.weight`);
      return {
        qkv: w.linear(qkv, [h * d, hkv * d, hkv * d], c),
        out: w.linear([`${p}.self_attn.o_proj.weight`], [c], h * d),
        gateUp: w.linear(gateUp, [f, f], c, { layout: 'gatedLinear' }),
        down: w.linear([`${p}.mlp.down_proj.weight`], [c], f),
        inputNorm: w.vector(`${p}.input_layernorm.weight`, c),
        postAttentionNorm: w.vector(`${p}.post_attention_layernorm.weight`, c),
        preFeedforwardNorm: w.vector(`${p}.pre_feedforward_layernorm.weight`, c),
        postFeedforwardNorm: w.vector(`${p}.post_feedforward_layernorm.weight`, c),
      };
    });
    this.#norm = w.vector('norm.weight', c);
  }

  get layers(): number {
    return this.#layers.length;
  }

  /** Channels of one layer's keys and values, 2 Hkv D. */
  get keysValuesChannels(): number {
    return 2 * this.config.numKeyValueHeads * this.config.headDim;
  }

  get dtype(): DType {
    return this.weights.dtype;
  }

  /**
   * The last hidden state after the final norm, [T, C].
   *
   * @param embeddings rows of the token embedding table, [T, C]
   * @param cos, sin rotary angles of every token's position, [T, D/2] f32
   * @param lengths tokens of each sequence
   * @param prefix keys and values of a prefix common to all sequences, per layer [P, 2 Hkv D]
   * @param capture receives the sequences' own keys and values, per layer [T, 2 Hkv D]
   */
  record(
    g: Graph,
    inputs: {
      embeddings: Tensor;
      cos: Tensor;
      sin: Tensor;
      lengths: readonly number[];
      prefix?: readonly Tensor[] | undefined;
      capture?: readonly Tensor[] | undefined;
    },
    options: { into?: Tensor; onLayer?: (index: number, hidden: Tensor) => void } = {},
  ): Tensor {
    const { config } = this;
    const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim, rmsNormEps: epsilon } = config;
    const norm = (x: Tensor, weight: Tensor, residual?: Tensor) =>
      g.rmsNorm(x, weight, { epsilon, offset: 1, residual });

    let h = g.convert(inputs.embeddings, { scale: Math.sqrt(config.hiddenSize) }); // [T, C]
    options.onLayer?.(0, h);
    this.#layers.forEach((w, i) => {
      h = g.scope(`layer ${i}`, () => {
        const projected = g.linear(norm(h, w.inputNorm), w.qkv); // [T, (H + 2 Hkv) D]
        const qkv = g.rotaryEmbedding(projected, inputs.cos, inputs.sin, heads + kvHeads);
        const captured = inputs.capture?.[i];
        if (captured) g.convert(columns(qkv, heads * headDim, this.keysValuesChannels), { into: captured });
        const attended = g.causalAttention(qkv, {
          prefix: inputs.prefix?.[i],
          heads,
          kvHeads,
          scale: config.queryPreAttnScalar ** -0.5,
          softcap: config.attnLogitSoftcapping,
          window: config.layerTypes[i] === 'sliding_attention' ? config.slidingWindow : 0,
          lengths: inputs.lengths,
        }); // [T, H D]
        const afterAttention = norm(g.linear(attended, w.out), w.postAttentionNorm, h); // [T, C]
        const gated = g.linear(norm(afterAttention, w.preFeedforwardNorm), w.gateUp, { activation: 'gelu-tanh' });
        return norm(g.linear(gated, w.down), w.postFeedforwardNorm, afterAttention); // [T, C]
      });
      options.onLayer?.(i + 1, h);
    });
    return g.rmsNorm(h, this.#norm, { epsilon, offset: 1, into: options.into });
  }
}
