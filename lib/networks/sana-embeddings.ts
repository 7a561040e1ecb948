/**
 * The inputs of a SANA transformer and its ControlNet before the first block: latents as tokens, the time as a vector,
 * and the caption in the width of the blocks.
 */

import { SanaError } from '../base/errors.ts';
import type { TransformerConfig } from '../checkpoint/configs.ts';
import type { Graph } from '../graph/graph.ts';
import { reshape, type Tensor } from '../graph/tensor.ts';
import type { Weights } from './weights.ts';

const timestepChannels = 256;
const captionNormEpsilon = 1e-5;

/** A sinusoidal embedding and the two layers after it. */
interface ScalarEmbedder {
  readonly weight1: Tensor; // [C, 256]
  readonly bias1: Tensor; // [C]
  readonly weight2: Tensor; // [C, C]
  readonly bias2: Tensor; // [C]
}

/** The time as the blocks and the output head need it: [B, C] and [B, 6C]. */
export interface EmbeddedTime {
  readonly embedded: Tensor; // [B, C]
  readonly six: Tensor; // [B, 6C]: added to every block's shifts, scales and gates
}

export class SanaEmbeddings {
  readonly #dtype: Weights['dtype'];
  readonly #patch: { weight: Tensor; bias: Tensor }; // [C, inChannels], [C]
  readonly #timestep: ScalarEmbedder;
  readonly #guidance: ScalarEmbedder | undefined;
  readonly #time: { weight: Tensor; bias: Tensor }; // [6C, C], [6C]
  readonly #caption: { weight1: Tensor; bias1: Tensor; weight2: Tensor; bias2: Tensor; norm: Tensor };

  constructor(w: Weights, config: TransformerConfig) {
    demandSupported(config);
    const c = config.numAttentionHeads * config.attentionHeadDim;
    this.#dtype = w.dtype;
    this.#patch = {
      weight: w.linear(['patch_embed.proj.weight'], [c], config.inChannels, { convolution: true }),
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
  }

  /** Latents [B, height, width, inChannels] as tokens, plus `residual` [B, N, C]: [B, N, C]. */
  recordPatches(g: Graph, latents: Tensor, residual?: Tensor): Tensor {
    const [b = 0, height = 0, width = 0, inChannels = 0] = latents.shape;
    const { weight, bias } = this.#patch;
    return g.linear(reshape(latents, [b, height * width, inChannels]), weight, { bias, residual });
  }

  /** The time, and the guidance scale for models that embed it, each [1] or [B] f32, of a batch of b. */
  recordTime(g: Graph, timestep: Tensor, guidance: Tensor | undefined, b: number): EmbeddedTime {
    const embed = (value: Tensor, by: ScalarEmbedder, residual?: Tensor): Tensor => {
      const waves = g.timestepEmbedding(value, timestepChannels, { dtype: this.#dtype }); // [1 or B, 256]
      const hidden = g.linear(waves, by.weight1, { bias: by.bias1, activation: 'silu' }); // [1 or B, C]
      return g.linear(hidden, by.weight2, { bias: by.bias2, residual }); // [1 or B, C]
    };
    let guided: Tensor | undefined;
    if (this.#guidance !== undefined) {
      if (guidance === undefined) throw new Error('this transformer embeds the guidance scale');
      const repeat = (timestep.shape[0] ?? 1) / (guidance.shape[0] ?? 1);
      guided = g.convert(embed(guidance, this.#guidance), { repeat });
    }
    const embedded = embed(timestep, this.#timestep, guided); // [1 or B, C]
    const six = g.linear(g.activation(embedded, 'silu'), this.#time.weight, { bias: this.#time.bias }); // [1 or B, 6C]
    if (timestep.shape[0] === b) return { embedded, six };
    return { embedded: g.convert(embedded, { repeat: b }), six: g.convert(six, { repeat: b }) };
  }

  /** The caption, from which the blocks' keys and values are computed; embeds [T, captionChannels] -> [T, C]. */
  recordCaption(g: Graph, embeds: Tensor): Tensor {
    const { weight1, bias1, weight2, bias2, norm } = this.#caption;
    const hidden = g.linear(embeds, weight1, { bias: bias1, activation: 'gelu-tanh' }); // [T, C]
    const projected = g.linear(hidden, weight2, { bias: bias2 }); // [T, C]
    return g.rmsNorm(projected, norm, { epsilon: captionNormEpsilon }); // [T, C]
  }
}

/** Rejects what no released transformer has, with an error that names it. */
function demandSupported({ patchSize }: TransformerConfig): void {
  if (patchSize === 1) return;
  throw new SanaError('ERR_SANA_MODEL', `The transformer's config.json asks for patch_size ${patchSize}`, {
    hint: 'Only patch_size 1 is supported, which every released SANA has.',
  });
}
