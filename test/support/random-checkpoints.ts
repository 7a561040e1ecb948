/** Tiny checkpoints with random weights, of other dimensions than the fixture. */

import { type TokenizerFiles, tokenizerFrom } from '../../scripts/random-checkpoint/checkpoint.ts';
import { type CheckpointConfigs, type TinyDimensions, tinyConfigs } from '../../scripts/random-checkpoint/configs.ts';
import { fixture } from './files.ts';

export const smallest: TinyDimensions = {
  layers: 2,
  heads: 1,
  crossHeads: 1,
  textLayers: 1,
  textHidden: 32,
  textHeads: 2,
  textKvHeads: 1,
  textHeadDim: 16,
  vaeWidth: 8,
  vaeLayers: 1,
};

/** What `writeRandomCheckpoint` makes a checkpoint of; its tokenizer is the fixture's. */
export async function tinyCheckpoint(
  dimensions: Partial<TinyDimensions> = {},
): Promise<{ readonly configs: CheckpointConfigs; readonly tokenizer: TokenizerFiles }> {
  const tokenizer = await tokenizerFrom(fixture('sana-base', 'tokenizer'));
  return { configs: tinyConfigs({ ...smallest, ...dimensions }, tokenizer.vocabSize), tokenizer };
}
