/** The limits of any request; a model may have lower ones. */

import { MAX_STEPS } from '../schedulers/schedule.ts';

export const LIMITS = {
  minSize: 32,
  maxSize: 8192,
  maxSteps: MAX_STEPS,
  /** For one call, over all prompts. */
  maxImages: 64,
  /** The longest accepted text, in UTF-16 units; the token limit is far lower. */
  maxTextLength: 100_000,
} as const;

export const MAX_SEED = 2n ** 64n - 1n;
