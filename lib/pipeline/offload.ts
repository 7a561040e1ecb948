/** What stays on the device, and for how long: one policy for each value of `offload`. */

import type { WeightsProgress } from '../networks/weights.ts';
import type { LoadOptions } from '../request/types.ts';

export type Offload = NonNullable<LoadOptions['offload']>;

/** The models of a pipeline that are loaded and released independently. */
export type ModelName = 'textEncoder' | 'transformer' | 'controlnet' | 'decoder' | 'encoder';

/** The weights of one model. */
export interface ModelWeights {
  readonly name: ModelName;
  /** The checkpoint's folder that they are read from. */
  readonly component: string;
  readonly bytes: number;
  readonly loaded: boolean;
  load(signal?: AbortSignal, onProgress?: (progress: WeightsProgress) => void): Promise<void>;
  release(): void;
}

export interface OffloadPolicy {
  /** Whether a model's weights stay once loaded. Otherwise they are released after the last stage that needs them. */
  keeps(model: ModelName): boolean;
  /**
   * How long the memory of a generation stays (latents, keys and values, and the arena): for the next call of the same
   * shape, until the call ends, or until the stage ends.
   */
  readonly generationMemory: 'next call' | 'call' | 'stage';
}

export const OFFLOAD_POLICIES: Readonly<Record<Offload, OffloadPolicy>> = {
  none: { keeps: () => true, generationMemory: 'next call' },
  'text-encoder': {
    keeps: (model) => model !== 'textEncoder' && model !== 'encoder',
    generationMemory: 'call',
  },
  sequential: { keeps: () => false, generationMemory: 'stage' },
};

/** The encoder is loaded by the first request with a picture; the other models that are kept, with the pipeline. */
export function isPreloaded(model: ModelName, policy: OffloadPolicy): boolean {
  return model !== 'encoder' && policy.keeps(model);
}
