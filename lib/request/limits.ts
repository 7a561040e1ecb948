/** The widest bounds that a request may have; a model may set narrower ones. */

import { MAX_STEPS } from '../schedulers/schedule.ts';

export const LIMITS = {
  minSize: 32,
  maxSize: 8192,
  maxSteps: MAX_STEPS,
  /** Of one call, all prompts together. */
  maxImages: 64,
  /** The longest text, in UTF-16 units; the token limit cuts far below it. */
  maxTextLength: 100_000,
} as const;

export const MAX_SEED = 2n ** 64n - 1n;
