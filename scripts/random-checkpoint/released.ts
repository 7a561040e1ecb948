/** The released autoencoder's configuration without its weights: for what is only planned. */

import type { Component } from '../../lib/runtime/checkpoint.ts';
import { type AutoencoderConfig, parseAutoencoderConfig } from '../../lib/runtime/configs.ts';
import { parseJsonObject } from '../../lib/runtime/json.ts';
import { configFiles, releasedConfigs } from './configs.ts';

/** It is the same in every released model. */
export function releasedAutoencoder(): AutoencoderConfig {
  const file = 'vae/config.json';
  const text = configFiles(releasedConfigs('0.6b', 1024, 256000), 'BF16').get(file) ?? '';
  return parseAutoencoderConfig(parseJsonObject(text, file), file);
}

/** A component of which only the configuration is asked for. */
export function withoutWeights<C>(config: C): Component<C> {
  return { config } as Component<C>;
}
