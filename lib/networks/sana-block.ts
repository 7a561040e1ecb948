/**
 * The blocks of a SANA transformer and of its ControlNet: ReLU linear attention, cross-attention to the text, and a
 * gated convolutional feed-forward (arXiv 2410.10629, section 3). Letters as in sana-transformer.ts.
 */

import type { TransformerConfig } from '../checkpoint/configs.ts';
import type { Graph } from '../graph/graph.ts';
import { columns, columnsOf, entry, reshape, rows, type Tensor } from '../graph/tensor.ts';
import type { Weights } from './weights.ts';

const queryKeyNormEpsilon = 1e-5;
const attentionEpsilon = 1e-15;

/** The limit of the attention output in fp16-trained checkpoints, as in fp16 arithmetic during training. */
export const fp16Clip = 65504;

/** Receives intermediates by name while they are recorded, for comparisons with a reference. */
export type Observer = (name: string, tensor: Tensor) => void;

/** The prompts of a batch, as the blocks see them. */
export interface TextContext {
  /** Keys and values of every block, [L][T, 2C]. */
  readonly keysValues: readonly Tensor[];
  /** Tokens of each prompt; unconditional prompts first if there is guidance. */
  readonly lengths: readonly number[];
}

/**
 * Perturbed-attention guidance: the first images of the batch, a fraction 1 / `parts` of it, go through some blocks
 * with every token attending only to itself (Ahn et al., "Self-Rectifying Diffusion Sampling with Perturbed-Attention
 * Guidance", 2024).
 */
export interface Perturbation {
  readonly parts: number;
  readonly blocks: readonly number[];
}

interface BlockWeights {
  readonly toQkv: Tensor; // [3C, C]
  readonly queryKeyNorm: QueryKeyNorm | undefined;
  readonly toOut: Tensor; // [C, C]
  readonly toOutBias: Tensor; // [C]
  readonly crossQ: Tensor; // [C, C]
  readonly crossQBias: Tensor; // [C]
  readonly crossKv: Tensor; // [2C, C]
  readonly crossKvBias: Tensor; // [2C]
  readonly crossOut: Tensor; // [C, C]
  readonly crossOutBias: Tensor; // [C]
  readonly inverted: Tensor; // [2F, C]
  readonly invertedBias: Tensor; // [2F]
  readonly depth: Tensor; // [2F, 3, 3]
  readonly depthBias: Tensor; // [2F]
  readonly point: Tensor; // [C, F]
}

/**
 * Norms over all heads together. A query's own factor cancels in ReLU linear attention, which divides by a sum that
 * contains it too. So of the norm of self-attention's queries only the weight is left, which is applied as the
 * projection's gate.
 */
interface QueryKeyNorm {
  readonly gate: Tensor; // [1, 3C]: the queries' weight, then ones
  readonly key: Tensor; // [C]
  readonly crossQuery: Tensor; // [C]
  readonly crossKey: Tensor; // [C]
}

/** The inputs that a block is recorded with. */
export interface BlockInputs {
  readonly modulation: Tensor; // [6L, B, C] f32: every block's shifts, scales and gates
  readonly text: TextContext;
  /** Size of the map of tokens. */
  readonly size: { readonly b: number; readonly height: number; readonly width: number };
  readonly perturbation?: Perturbation | undefined;
  readonly observe?: Observer | undefined;
}

/**
 * `transformer_blocks.*` of a checkpoint. In i8 and f8, the matrices that latent tokens go through have 8 bits; norms,
 * linear attention, the depthwise convolution and the text's keys and values are unchanged, as in section 4 of the
 * paper.
 */
export class SanaBlocks {
  readonly channels: number;
  /** Limits the attention output to [-clip, clip]; 0 for none. Set to `fp16Clip` for fp16-trained checkpoints. */
  attentionClip = 0;
  readonly #config: TransformerConfig;
  readonly #tables: Tensor; // [6L, C]
  readonly #blocks: readonly BlockWeights[];

  constructor(w: Weights, config: TransformerConfig) {
    const c = config.numAttentionHeads * config.attentionHeadDim;
    const f = Math.trunc(config.mlpRatio * c);
    this.channels = c;
    this.#config = config;
    const paths = Array.from({ length: config.numLayers }, (_, i) => `transformer_blocks.${i}`);
    this.#tables = w.stack(
      paths.map((p) => `${p}.scale_shift_table`),
      6,
      c,
    );
    const tokens = { dtype: w.blockDtype };
    this.#blocks = paths.map((p) => ({
      toQkv: w.linear(
        ['q', 'k', 'v'].map((x) => `${p}.attn1.to_${x}.weight`),
        [c, c, c],
        c,
        tokens,
      ),
      queryKeyNorm:
        config.qkNorm === null
          ? undefined
          : {
              gate: w.beforeOnes(`${p}.attn1.norm_q.weight`, c, 3 * c),
              key: w.vector(`${p}.attn1.norm_k.weight`, c),
              crossQuery: w.vector(`${p}.attn2.norm_q.weight`, c),
              crossKey: w.vector(`${p}.attn2.norm_k.weight`, c),
            },
      toOut: w.linear([`${p}.attn1.to_out.0.weight`], [c], c, tokens),
      toOutBias: w.vector(`${p}.attn1.to_out.0.bias`, c),
      crossQ: w.linear([`${p}.attn2.to_q.weight`], [c], c, tokens),
      crossQBias: w.vector(`${p}.attn2.to_q.bias`, c),
      crossKv: w.linear([`${p}.attn2.to_k.weight`, `${p}.attn2.to_v.weight`], [c, c], config.crossAttentionDim),
      crossKvBias: w.concat([`${p}.attn2.to_k.bias`, `${p}.attn2.to_v.bias`], c),
      crossOut: w.linear([`${p}.attn2.to_out.0.weight`], [c], c, tokens),
      crossOutBias: w.vector(`${p}.attn2.to_out.0.bias`, c),
      inverted: w.linear([`${p}.ff.conv_inverted.weight`], [2 * f], c, { ...tokens, convolution: true }),
      invertedBias: w.vector(`${p}.ff.conv_inverted.bias`, 2 * f),
      depth: w.depthwise(`${p}.ff.conv_depth.weight`, 2 * f, 3),
      depthBias: w.vector(`${p}.ff.conv_depth.bias`, 2 * f),
      point: w.linear([`${p}.ff.conv_point.weight`], [c], f, { ...tokens, convolution: true }),
    }));
  }

  /** L. */
  get count(): number {
    return this.#blocks.length;
  }

  /** Every block's keys and values of a caption [T, C], written into `keysValues` [L][T, 2C]. */
  recordText(g: Graph, caption: Tensor, keysValues: readonly Tensor[]): void {
    this.#blocks.forEach(({ crossKv, crossKvBias, queryKeyNorm }, i) => {
      g.scope(`block ${i}`, () => {
        const both = g.linear(caption, crossKv, { bias: crossKvBias, into: keysValues[i] }); // [T, 2C]
        if (queryKeyNorm !== undefined) normInPlace(g, columns(both, 0, this.channels), queryKeyNorm.crossKey);
      });
    });
  }

  /** Shifts, scales and gates of all blocks, [6L, B, C] f32, from the time's [B, 6C]. */
  recordModulation(g: Graph, six: Tensor): Tensor {
    return g.modulation(this.#tables, six);
  }

  /** Block `index`: [B, N, C] -> [B, N, C]. */
  record(g: Graph, index: number, input: Tensor, inputs: BlockInputs): Tensor {
    const w = this.#blocks[index];
    const { text, perturbation, observe = () => {} } = inputs;
    const { b, height, width } = inputs.size;
    const keysValues = text.keysValues[index];
    if (w === undefined || keysValues === undefined) throw new Error(`no block ${index}, or no text for it`);
    const config = this.#config;
    const c = this.channels;
    const n = height * width;
    const modulation = rows(inputs.modulation, 6 * index, 6); // shift, scale, gate of attention, then of feed-forward
    let h = input;

    h = g.scope('attn1', () => {
      const x = g.layerNormModulate(h, entry(modulation, 0), entry(modulation, 1), config.normEps); // [B, N, C]
      const qkv = g.linear(x, w.toQkv, { gate: w.queryKeyNorm?.gate }); // [B, N, 3C]
      if (w.queryKeyNorm !== undefined) normInPlace(g, columns(qkv, c, c), w.queryKeyNorm.key);
      const perturbed = perturbation?.blocks.includes(index) ? b / perturbation.parts : 0;
      const attended = this.#recordAttention(g, qkv, perturbed); // [B, N, C]
      const gate = entry(modulation, 2);
      return g.linear(attended, w.toOut, { bias: w.toOutBias, clip: this.attentionClip, gate, residual: h });
    });

    observe(`block ${index} attn1`, h);

    h = g.scope('attn2', () => {
      const q = g.linear(h, w.crossQ, { bias: w.crossQBias }); // [B, N, C], from the hidden state without a norm
      if (w.queryKeyNorm !== undefined) normInPlace(g, q, w.queryKeyNorm.crossQuery);
      const prompts = text.lengths.length; // images of one prompt are adjacent and share its keys
      const attended = g.crossAttention(
        reshape(q, [prompts, (b / prompts) * n, c]),
        columns(keysValues, 0, c),
        columns(keysValues, c, c),
        { heads: config.numCrossAttentionHeads, scale: config.crossAttentionHeadDim ** -0.5, lengths: text.lengths },
      );
      return g.linear(reshape(attended, [b, n, c]), w.crossOut, { bias: w.crossOutBias, residual: h });
    });

    observe(`block ${index} attn2`, h);

    h = g.scope('ff', () => {
      const x = g.layerNormModulate(h, entry(modulation, 3), entry(modulation, 4), config.normEps); // [B, N, C]
      const expanded = g.linear(x, w.inverted, { bias: w.invertedBias, activation: 'silu' }); // [B, N, 2F]
      const map = reshape(expanded, [b, height, width, columnsOf(expanded)]);
      const gated = g.depthwiseConvGlu(map, w.depth, w.depthBias); // [B, height, width, F]
      const flat = reshape(gated, [b, n, columnsOf(gated)]);
      return g.linear(flat, w.point, { gate: entry(modulation, 5), residual: h }); // [B, N, C]
    });
    observe(`block ${index}`, h);
    return h;
  }

  /** Self-attention, [B, N, C]; in the first `perturbed` images every token attends only to itself. qkv [B, N, 3C] */
  #recordAttention(g: Graph, qkv: Tensor, perturbed: number): Tensor {
    const c = this.channels;
    const options = { headDim: this.#config.attentionHeadDim, order: 'split', epsilon: attentionEpsilon } as const;
    if (perturbed === 0) return g.linearAttention(qkv, options);
    const [b = 0, n = 0] = qkv.shape;
    const attended = g.empty(qkv.dtype, [b, n, c]);
    g.convert(columns(rows(qkv, 0, perturbed), 2 * c, c), { into: rows(attended, 0, perturbed) });
    g.linearAttention(rows(qkv, perturbed, b - perturbed), {
      ...options,
      into: rows(attended, perturbed, b - perturbed),
    });
    return attended;
  }
}

function normInPlace(g: Graph, x: Tensor, weight: Tensor): void {
  g.rmsNorm(x, weight, { epsilon: queryKeyNormEpsilon, into: x });
}
