/** Configurations of released models without their weights, for planning. */

import { type JsonObject, parseJsonObject } from '../../lib/base/json.ts';
import type { Component } from '../../lib/checkpoint/checkpoint.ts';
import {
  type AutoencoderConfig,
  type Gemma2Config,
  parseAutoencoderConfig,
  parseGemma2Config,
  parseSchedulerConfig,
  parseTransformerConfig,
  type TransformerConfig,
} from '../../lib/checkpoint/configs.ts';
import type { SchedulerConfig } from '../../lib/schedulers/config.ts';
import { configFiles, type ReleasedModel, type ReleasedSize, releasedConfigs } from './configs.ts';

const kVocabSize = 256000;

/** The contents of a checkpoint folder's JSON files. */
export interface ReleasedConfigs {
  readonly transformer: TransformerConfig;
  readonly scheduler: SchedulerConfig;
  readonly textEncoder: Gemma2Config;
  readonly autoencoder: AutoencoderConfig;
}

export function parsedConfigs(model: ReleasedModel, size: ReleasedSize): ReleasedConfigs {
  const files = configFiles(releasedConfigs(model, size, kVocabSize), 'BF16');
  const read = <T>(file: string, parse: (json: JsonObject, file: string) => T): T =>
    parse(parseJsonObject(files.get(file) ?? '', file), file);
  return {
    transformer: read('transformer/config.json', parseTransformerConfig),
    scheduler: read('scheduler/scheduler_config.json', parseSchedulerConfig),
    textEncoder: read('text_encoder/config.json', parseGemma2Config),
    autoencoder: read('vae/config.json', parseAutoencoderConfig),
  };
}

/** It is the same in every released model. */
export function releasedAutoencoder(): AutoencoderConfig {
  return parsedConfigs('0.6b', 1024).autoencoder;
}

/** A component of which only the configuration is used. */
export function withoutWeights<C>(config: C): Component<C> {
  return { config, files: [] as const } as unknown as Component<C>;
}
