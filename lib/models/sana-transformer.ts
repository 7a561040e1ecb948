/**
 * The linear diffusion transformer (SANA, arXiv 2410.10629, section 3; diffusers' `SanaTransformer2DModel`), with what
 * its successors add: norms of queries and keys (SANA-1.5, arXiv 2501.18427), an embedding of the guidance scale
 * (SANA-Sprint, arXiv 2503.09641) and fixed positions (the models for 2K and 4K).
 *
 * Sizes: B images (guidance doubles them, unconditional first), N = height * width latent tokens, C channels,
 * L blocks, T text tokens of all prompts laid end to end, F hidden channels of the feed-forward.
 */

import { SanaError } from '../errors.ts';
import type { Graph } from '../graph/graph.ts';
import { columns, columnsOf, entry, reshape, rows, type Tensor } from '../graph/tensor.ts';
import type { NativeDevice } from '../native.ts';
import type { TransformerConfig } from '../runtime/configs.ts';
import { positionEmbedding } from './position-embedding.ts';
import { Weights } from './weights.ts';

const timestepChannels = 256;
const captionNormEpsilon = 1e-5;
const queryKeyNormEpsilon = 1e-5;
const attentionEpsilon = 1e-15;

/** What fp16-trained checkpoints clip their attention output to, as fp16 arithmetic did in training. */
export const fp16Clip = 65504;

/** Sees intermediates by name while they are recorded, for comparisons with a reference. */
export type Observer = (name: string, tensor: Tensor) => void;

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
 * has it too; so of the norm of self-attention's queries only the weight is left, and that is the projection's gate.
 */
interface QueryKeyNorm {
  readonly gate: Tensor; // [1, 3C]: the queries' weight, then ones
  readonly key: Tensor; // [C]
  readonly crossQuery: Tensor; // [C]
  readonly crossKey: Tensor; // [C]
}

/** A sinusoidal embedding and the two layers after it. */
interface ScalarEmbedder {
  readonly weight1: Tensor; // [C, 256]
  readonly bias1: Tensor; // [C]
  readonly weight2: Tensor; // [C, C]
  readonly bias2: Tensor; // [C]
}

/** What a forward takes. */
export interface TransformerInputs {
  /** [B, height, width, inChannels] in the compute dtype. */
  readonly latents: Tensor;
  /** [1] or [B] f32, in the model's units. */
  readonly timestep: Tensor;
  readonly text: TextContext;
  /** [1, N, C] f32: `positions` of the map, for models that have any. */
  readonly positions?: Tensor | undefined;
  /** [1] or [B] f32: the guidance scale times `guidance_embeds_scale`, for models that embed it. */
  readonly guidance?: Tensor | undefined;
  readonly perturbation?: Perturbation | undefined;
}

/**
 * Perturbed-attention guidance: the first images of the batch, a fraction 1 / `parts` of it, go through some blocks
 * with every token seeing only itself (Ahn et al., "Self-Rectifying Diffusion Sampling with Perturbed-Attention
 * Guidance", 2024).
 */
export interface Perturbation {
  readonly parts: number;
  readonly blocks: readonly number[];
}

/** The prompts of a batch, as the blocks see them. */
export interface TextContext {
  /** Keys and values of every block, [L][T, 2C]. */
  readonly keysValues: readonly Tensor[];
  /** Tokens of each prompt; unconditional prompts first when there is guidance. */
  readonly lengths: readonly number[];
}

export class SanaTransformer {
  readonly config: TransformerConfig;
  readonly weights: Weights;
  readonly channels: number;
  /** Limits the attention output to [-clip, clip]; 0 for none. Set to `fp16Clip` for fp16-trained checkpoints. */
  attentionClip = 0;
  readonly #patch: { weight: Tensor; bias: Tensor };
  readonly #timestep: ScalarEmbedder;
  readonly #guidance: ScalarEmbedder | undefined;
  readonly #time: { weight: Tensor; bias: Tensor }; // [6C, C], [6C]
  readonly #caption: { weight1: Tensor; bias1: Tensor; weight2: Tensor; bias2: Tensor; norm: Tensor };
  readonly #tables: Tensor; // [6L, C]
  readonly #outTable: Tensor; // [2, C]
  readonly #out: { weight: Tensor; bias: Tensor };
  readonly #blocks: readonly BlockWeights[];

  constructor(device: NativeDevice, config: TransformerConfig, dtype: 'f32' | 'bf16' | 'f16') {
    demandSupported(config);
    const w = new Weights(device, 'transformer', dtype);
    const c = config.numAttentionHeads * config.attentionHeadDim;
    const f = Math.trunc(config.mlpRatio * c);
    const patched = config.patchSize * config.patchSize;
    this.config = config;
    this.weights = w;
    this.channels = c;

    this.#patch = {
      weight: w.linear(['patch_embed.proj.weight'], [c], config.inChannels, 'linear', true),
      bias: w.vector('patch_embed.proj.bias', c),
    };
    const embedder = (path: string): ScalarEmbedder => ({
      weight1: w.linear([`${path}.linear_1.weight`], [c], timestepChannels),
      bias1: w.vector(`${path}.linear_1.bias`, c),
      weight2: w.linear([`${path}.linear_2.weight`], [c], c),
      bias2: w.vector(`${path}.linear_2.bias`, c),
    });
    const guided = config.guidanceEmbeds;
    this.#timestep = embedder(guided ? 'time_embed.timestep_embedder' : 'time_embed.emb.timestep_embedder');
    this.#guidance = guided ? embedder('time_embed.guidance_embedder') : undefined;
    this.#time = {
      weight: w.linear(['time_embed.linear.weight'], [6 * c], c),
      bias: w.vector('time_embed.linear.bias', 6 * c),
    };
    this.#caption = {
      weight1: w.linear(['caption_projection.linear_1.weight'], [c], config.captionChannels),
      bias1: w.vector('caption_projection.linear_1.bias', c),
      weight2: w.linear(['caption_projection.linear_2.weight'], [c], c),
      bias2: w.vector('caption_projection.linear_2.bias', c),
      norm: w.vector('caption_norm.weight', c),
    };
    const indices = Array.from({ length: config.numLayers }, (_, i) => i);
    this.#tables = w.stack(
      indices.map((i) => `transformer_blocks.${i}.scale_shift_table`),
      6,
      c,
    );
    this.#blocks = indices.map((i) => {
      const p = `transformer_blocks.${i}`;
      return {
        toQkv: w.linear(
          ['q', 'k', 'v'].map((x) => `${p}.attn1.to_${x}.weight`),
          [c, c, c],
          c,
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
        toOut: w.linear([`${p}.attn1.to_out.0.weight`], [c], c),
        toOutBias: w.vector(`${p}.attn1.to_out.0.bias`, c),
        crossQ: w.linear([`${p}.attn2.to_q.weight`], [c], c),
        crossQBias: w.vector(`${p}.attn2.to_q.bias`, c),
        crossKv: w.linear([`${p}.attn2.to_k.weight`, `${p}.attn2.to_v.weight`], [c, c], config.crossAttentionDim),
        crossKvBias: w.concat([`${p}.attn2.to_k.bias`, `${p}.attn2.to_v.bias`], c),
        crossOut: w.linear([`${p}.attn2.to_out.0.weight`], [c], c),
        crossOutBias: w.vector(`${p}.attn2.to_out.0.bias`, c),
        inverted: w.linear([`${p}.ff.conv_inverted.weight`], [2 * f], c, 'linear', true),
        invertedBias: w.vector(`${p}.ff.conv_inverted.bias`, 2 * f),
        depth: w.depthwise(`${p}.ff.conv_depth.weight`, 2 * f, 3),
        depthBias: w.vector(`${p}.ff.conv_depth.bias`, 2 * f),
        point: w.linear([`${p}.ff.conv_point.weight`], [c], f, 'linear', true),
      };
    });
    this.#outTable = w.table('scale_shift_table', [2, c]);
    this.#out = {
      weight: w.linear(['proj_out.weight'], [patched * config.outChannels], c),
      bias: w.vector('proj_out.bias', patched * config.outChannels),
    };
  }

  get layers(): number {
    return this.#blocks.length;
  }

  /** What `TransformerInputs.positions` holds for a map, [N, C]: only for models with an `interpolation_scale`. */
  positions(height: number, width: number): Float32Array {
    const { interpolationScale, sampleSize, patchSize } = this.config;
    if (interpolationScale === null) throw new Error('this transformer has no positions');
    const baseSize = Math.floor(sampleSize / patchSize);
    return positionEmbedding({ height, width, channels: this.channels, baseSize, interpolationScale });
  }

  /**
   * What does not depend on the timestep, once per generation: the caption projection and every block's text keys and
   * values, written into `keysValues` [L][T, 2C]. `embeds` [T, captionChannels].
   */
  recordContext(g: Graph, embeds: Tensor, keysValues: readonly Tensor[]): void {
    const { weight1, bias1, weight2, bias2, norm } = this.#caption;
    const caption = g.scope('caption', () => {
      const hidden = g.linear(embeds, weight1, { bias: bias1, activation: 'gelu-tanh' }); // [T, C]
      const projected = g.linear(hidden, weight2, { bias: bias2 }); // [T, C]
      return g.rmsNorm(projected, norm, { epsilon: captionNormEpsilon }); // [T, C]
    });
    this.#blocks.forEach(({ crossKv, crossKvBias, queryKeyNorm }, i) => {
      g.scope(`block ${i}`, () => {
        const both = g.linear(caption, crossKv, { bias: crossKvBias, into: keysValues[i] }); // [T, 2C]
        if (queryKeyNorm !== undefined) normInPlace(g, columns(both, 0, this.channels), queryKeyNorm.crossKey);
      });
    });
  }

  /** The predicted velocity [B, height, width, outChannels] f32. */
  record(g: Graph, inputs: TransformerInputs, observe: Observer = () => {}): Tensor {
    const { latents, positions } = inputs;
    const [b = 0, height = 0, width = 0, inChannels = 0] = latents.shape;
    const n = height * width;
    const { modulation, shift, scale } = g.scope('time', () => this.#recordTime(g, inputs, b));
    let h = g.scope('patch', () => {
      const { dtype } = this.weights;
      const residual = positions === undefined ? undefined : g.convert(positions, { dtype, repeat: b }); // [B, N, C]
      return g.linear(reshape(latents, [b, n, inChannels]), this.#patch.weight, { bias: this.#patch.bias, residual });
    }); // [B, N, C]
    observe('patch', h);
    this.#blocks.forEach((weights, i) => {
      h = g.scope(`block ${i}`, () =>
        this.#recordBlock(g, h, weights, rows(modulation, 6 * i, 6), inputs, i, [b, height, width], observe),
      );
    });
    const velocity = g.scope('out', () => {
      const normed = g.layerNormModulate(h, shift, scale, this.config.normEps); // [B, N, C]
      observe('norm_out', normed);
      return g.linear(normed, this.#out.weight, { bias: this.#out.bias, dtype: 'f32' }); // [B, N, outChannels]
    });
    return reshape(velocity, [b, height, width, columnsOf(velocity)]);
  }

  /** Shifts, scales and gates of all blocks, [6L, B, C] f32, and the output head's shift and scale, [B, C]. */
  #recordTime(
    g: Graph,
    { timestep, guidance }: TransformerInputs,
    b: number,
  ): { modulation: Tensor; shift: Tensor; scale: Tensor } {
    const embed = (value: Tensor, by: ScalarEmbedder, residual?: Tensor): Tensor => {
      const waves = g.timestepEmbedding(value, timestepChannels, { dtype: this.weights.dtype }); // [1 or B, 256]
      const hidden = g.linear(waves, by.weight1, { bias: by.bias1, activation: 'silu' }); // [1 or B, C]
      return g.linear(hidden, by.weight2, { bias: by.bias2, residual }); // [1 or B, C]
    };
    let guided: Tensor | undefined;
    if (this.#guidance !== undefined) {
      if (guidance === undefined) throw new Error('this transformer embeds the guidance scale');
      const repeat = (timestep.shape[0] ?? 1) / (guidance.shape[0] ?? 1);
      guided = g.convert(embed(guidance, this.#guidance), { repeat });
    }
    let embedded = embed(timestep, this.#timestep, guided); // [1 or B, C]
    let six = g.linear(g.activation(embedded, 'silu'), this.#time.weight, { bias: this.#time.bias }); // [1 or B, 6C]
    if (timestep.shape[0] !== b) {
      embedded = g.convert(embedded, { repeat: b }); // [B, C]
      six = g.convert(six, { repeat: b }); // [B, 6C]
    }
    const out = g.modulation(this.#outTable, embedded); // [2, B, C]
    return { modulation: g.modulation(this.#tables, six), shift: entry(out, 0), scale: entry(out, 1) };
  }

  #recordBlock(
    g: Graph,
    input: Tensor, // [B, N, C]
    w: BlockWeights,
    modulation: Tensor, // [6, B, C]: shift, scale, gate of the attention, then of the feed-forward
    { text, perturbation }: TransformerInputs,
    index: number,
    [b, height, width]: readonly [number, number, number],
    observe: Observer,
  ): Tensor {
    const { config } = this;
    const c = this.channels;
    const n = height * width;
    const keysValues = text.keysValues[index];
    if (keysValues === undefined) throw new Error(`no text context for block ${index}`);
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
      const q = g.linear(h, w.crossQ, { bias: w.crossQBias }); // [B, N, C], of the hidden state as it is: no norm
      if (w.queryKeyNorm !== undefined) normInPlace(g, q, w.queryKeyNorm.crossQuery);
      const prompts = text.lengths.length; // images of one prompt lie side by side and share its keys
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

  /** Self-attention, [B, N, C]; of the first `perturbed` images every token sees itself alone. qkv [B, N, 3C] */
  #recordAttention(g: Graph, qkv: Tensor, perturbed: number): Tensor {
    const c = this.channels;
    const options = { headDim: this.config.attentionHeadDim, order: 'split', epsilon: attentionEpsilon } as const;
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

/** Rejects by name what no released transformer has. */
function demandSupported({ patchSize }: TransformerConfig): void {
  if (patchSize === 1) return;
  throw new SanaError('ERR_SANA_MODEL', `The transformer's config.json asks for patch_size ${patchSize}`, {
    hint: 'Only patch_size 1 is supported, which every released SANA has.',
  });
}
