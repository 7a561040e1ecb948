/**
 * The linear diffusion transformer (SANA, arXiv 2410.10629, section 3; diffusers' `SanaTransformer2DModel`), with the
 * additions of its successors: norms of queries and keys (SANA-1.5, arXiv 2501.18427), an embedding of the guidance
 * scale (SANA-Sprint, arXiv 2503.09641) and a fixed position embedding (the models for 2K and 4K).
 *
 * Sizes: B images (guidance doubles them, unconditional first), N = height * width latent tokens, C channels, L blocks,
 * T text tokens of all prompts concatenated, F hidden channels of the feed-forward.
 */

import type { TransformerConfig } from '../checkpoint/configs.ts';
import type { NativeDevice } from '../device/native.ts';
import type { Graph } from '../graph/graph.ts';
import { columnsOf, entry, reshape, type Tensor } from '../graph/tensor.ts';
import { positionEmbedding } from './position-embedding.ts';
import { type Observer, type Perturbation, SanaBlocks, type TextContext } from './sana-block.ts';
import { SanaEmbeddings } from './sana-embeddings.ts';
import { type ModelDtype, Weights } from './weights.ts';

/** The inputs of a forward pass. */
export interface TransformerInputs {
  /** [B, height, width, inChannels] in the compute dtype. */
  readonly latents: Tensor;
  /** [1] or [B] f32, in the model's units. */
  readonly timestep: Tensor;
  readonly text: TextContext;
  /** [1, N, C] f32: the position embedding of the map, for models that have one. */
  readonly positions?: Tensor | undefined;
  /** [1] or [B] f32: the guidance scale times `guidance_embeds_scale`, for models that embed it. */
  readonly guidance?: Tensor | undefined;
  /** The ControlNet's part after a block, with the hidden state [B, N, C]: see sana-controlnet.ts. */
  readonly afterBlock?: ((index: number, h: Tensor) => Tensor) | undefined;
  readonly perturbation?: Perturbation | undefined;
}

export class SanaTransformer {
  readonly config: TransformerConfig;
  readonly weights: Weights;
  readonly blocks: SanaBlocks;
  readonly #embeddings: SanaEmbeddings;
  readonly #outTable: Tensor; // [2, C]
  readonly #out: { weight: Tensor; bias: Tensor };

  constructor(device: NativeDevice, config: TransformerConfig, dtype: ModelDtype) {
    const w = new Weights(device, 'transformer', dtype);
    this.config = config;
    this.weights = w;
    this.#embeddings = new SanaEmbeddings(w, config);
    this.blocks = new SanaBlocks(w, config);
    const outChannels = config.patchSize * config.patchSize * config.outChannels;
    this.#outTable = w.table('scale_shift_table', [2, this.channels]);
    this.#out = {
      weight: w.linear(['proj_out.weight'], [outChannels], this.channels),
      bias: w.vector('proj_out.bias', outChannels),
    };
  }

  get channels(): number {
    return this.blocks.channels;
  }

  get layers(): number {
    return this.blocks.count;
  }

  /** The value of `TransformerInputs.positions` for a map, [N, C]: only for models with an `interpolation_scale`. */
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
    const caption = g.scope('caption', () => this.#embeddings.recordCaption(g, embeds)); // [T, C]
    this.blocks.recordText(g, caption, keysValues);
  }

  /** The predicted velocity [B, height, width, outChannels] f32. */
  record(g: Graph, inputs: TransformerInputs, observe: Observer = () => {}): Tensor {
    const { latents, text, timestep, guidance, positions, afterBlock, perturbation } = inputs;
    const [b = 0, height = 0, width = 0] = latents.shape;
    const { modulation, shift, scale } = g.scope('time', () => {
      const { embedded, six } = this.#embeddings.recordTime(g, timestep, guidance, b);
      const out = g.modulation(this.#outTable, embedded); // [2, B, C]
      return { modulation: this.blocks.recordModulation(g, six), shift: entry(out, 0), scale: entry(out, 1) };
    });
    let h = g.scope('patch', () => {
      const { dtype } = this.weights;
      const residual = positions === undefined ? undefined : g.convert(positions, { dtype, repeat: b }); // [B, N, C]
      return this.#embeddings.recordPatches(g, latents, residual);
    }); // [B, N, C]
    observe('patch', h);
    const block = { modulation, text, size: { b, height, width }, perturbation, observe };
    for (let i = 0; i < this.layers; i++) {
      h = g.scope(`block ${i}`, () => this.blocks.record(g, i, h, block));
      if (afterBlock !== undefined) h = afterBlock(i, h);
    }
    const velocity = g.scope('out', () => {
      const normed = g.layerNormModulate(h, shift, scale, this.config.normEps); // [B, N, C]
      observe('norm_out', normed);
      return g.linear(normed, this.#out.weight, { bias: this.#out.bias, dtype: 'f32' }); // [B, N, outChannels]
    });
    return reshape(velocity, [b, height, width, columnsOf(velocity)]);
  }
}
