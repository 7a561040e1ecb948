/**
 * A ControlNet: a copy of the transformer's first blocks that also sees a picture, and adds its outputs to the
 * transformer's hidden state (arXiv 2302.05543; diffusers' `SanaControlNetModel`).
 *
 *     h = patch(latents) + W patch(picture) + b                      the same patch embedding for both
 *     h = block_i(h);  base = base + scale (W_i h + b_i)             after the transformer's block i + 1
 *
 * Nothing is added after the transformer's block 0. The sum is the epilogue of the product with W_i: the scale is its
 * gate, the transformer's hidden state its residual. Letters as in sana-transformer.ts; K pictures, one for all images
 * or one each.
 */

import { SanaError } from '../base/errors.ts';
import type { TransformerConfig } from '../checkpoint/configs.ts';
import type { NativeDevice } from '../device/native.ts';
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import { SanaBlocks, type TextContext } from './sana-block.ts';
import { SanaEmbeddings } from './sana-embeddings.ts';
import type { TransformerInputs } from './sana-transformer.ts';
import { type ModelDtype, Weights } from './weights.ts';

/** The inputs of a forward pass. Keys and values of the text are the ControlNet's own. */
export interface ControlNetInputs extends Pick<TransformerInputs, 'latents' | 'timestep'> {
  readonly text: TextContext;
  /** [K, N, C] in the compute dtype: the output of `recordPicture`. */
  readonly picture: Tensor;
  /** [1, C] f32: the conditioning scale in every channel. */
  readonly scale: Tensor;
}

interface Projection {
  readonly weight: Tensor; // [C, C]
  readonly bias: Tensor; // [C]
}

export class ControlNet {
  readonly config: TransformerConfig;
  readonly weights: Weights;
  readonly blocks: SanaBlocks;
  readonly #embeddings: SanaEmbeddings;
  readonly #input: Projection;
  readonly #outputs: readonly Projection[]; // [L]

  /** @throws SanaError ERR_SANA_MODEL if it was not made for a transformer like `base`. */
  constructor(device: NativeDevice, config: TransformerConfig, base: TransformerConfig, dtype: ModelDtype) {
    demandFitting(config, base);
    const w = new Weights(device, 'controlnet', dtype);
    this.config = config;
    this.weights = w;
    this.#embeddings = new SanaEmbeddings(w, config);
    this.blocks = new SanaBlocks(w, config);
    const c = this.blocks.channels;
    const projection = (path: string): Projection => ({
      weight: w.linear([`${path}.weight`], [c], c),
      bias: w.vector(`${path}.bias`, c),
    });
    this.#input = projection('input_block');
    this.#outputs = Array.from({ length: config.numLayers }, (_, i) => projection(`controlnet_blocks.${i}`));
  }

  get channels(): number {
    return this.blocks.channels;
  }

  get layers(): number {
    return this.blocks.count;
  }

  /** Like `SanaTransformer.recordContext`, with the ControlNet's own caption projection and blocks. */
  recordContext(g: Graph, embeds: Tensor, keysValues: readonly Tensor[]): void {
    const caption = g.scope('caption', () => this.#embeddings.recordCaption(g, embeds)); // [T, C]
    this.blocks.recordText(g, caption, keysValues);
  }

  /** The pictures' share of the first hidden state, the same in every step; latents [K, height, width, inChannels]. */
  recordPicture(g: Graph, latents: Tensor, into: Tensor): void {
    const { weight, bias } = this.#input;
    g.scope('picture', () => g.linear(this.#embeddings.recordPatches(g, latents), weight, { bias, into })); // [K, N, C]
  }

  /**
   * Records what comes before the blocks. The function it returns is the transformer's `afterBlock`: it records the
   * ControlNet's next block and adds its output, so that no output has to be kept.
   */
  record(g: Graph, inputs: ControlNetInputs): (index: number, h: Tensor) => Tensor {
    const { latents, timestep, text, picture, scale } = inputs;
    const [b = 0, height = 0, width = 0] = latents.shape;
    const scoped = <T>(name: string, body: () => T): T => g.scope('controlnet', () => g.scope(name, body));
    const modulation = scoped('time', () => {
      const { six } = this.#embeddings.recordTime(g, timestep, undefined, b);
      return this.blocks.recordModulation(g, six);
    });
    let hidden = scoped('patch', () => {
      const repeat = b / (picture.shape[0] ?? 1);
      return this.#embeddings.recordPatches(g, latents, repeat === 1 ? picture : g.convert(picture, { repeat }));
    }); // [B, N, C]
    const block = { modulation, text, size: { b, height, width } };
    return (index, h) => {
      const output = this.#outputs[index - 1];
      if (output === undefined) return h;
      return scoped(`block ${index - 1}`, () => {
        hidden = this.blocks.record(g, index - 1, hidden, block); // [B, N, C]
        const { weight, bias } = output;
        return g.scope('out', () => g.linear(hidden, weight, { bias, gate: scale, residual: h })); // [B, N, C]
      });
    };
  }
}

/** Rejects what does not fit the transformer, and what no ControlNet of SANA has, with an error that names it. */
function demandFitting(config: TransformerConfig, base: TransformerConfig): void {
  const reject = (reason: string, hint: string): never => {
    throw new SanaError('ERR_SANA_MODEL', `The ControlNet's config.json ${reason}`, { hint });
  };
  if (base.guidanceEmbeds) {
    reject('is used with a Sprint transformer', 'Use a text-to-image model: there is no ControlNet for Sprint models.');
  }
  for (const [key, value, expected] of [
    ['qk_norm', config.qkNorm, null],
    ['guidance_embeds', config.guidanceEmbeds, false],
    ['interpolation_scale', config.interpolationScale, null],
  ] as const) {
    if (value !== expected) reject(`asks for ${key} ${value}`, `Only ${key} ${expected} is supported.`);
  }
  const width = ({ numAttentionHeads, attentionHeadDim }: TransformerConfig) => numAttentionHeads * attentionHeadDim;
  for (const [what, own, other] of [
    ['channels', width(config), width(base)],
    ['in_channels', config.inChannels, base.inChannels],
    ['caption_channels', config.captionChannels, base.captionChannels],
  ] as const) {
    if (own !== other) {
      reject(`has ${own} ${what}, the transformer has ${other}`, 'Use a ControlNet that was made for this model.');
    }
  }
  if (config.numLayers >= base.numLayers) {
    reject(
      `has ${config.numLayers} blocks, the transformer has ${base.numLayers}, of which all but the first can be steered`,
      'Use a ControlNet that was made for this model.',
    );
  }
}
