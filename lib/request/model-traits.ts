import type { RequestDefaults, SchedulerName } from './values.ts';

/** What a model decides about a request. */
export interface ModelTraits {
  readonly kind: 'sana' | 'sprint' | 'controlnet';
  /** Pixels per side that the model was made for. */
  readonly nativeSize: number;
  readonly latentChannels: number;
  /** Pixels per latent, in both directions. */
  readonly compression: number;
  /** Positions of the text encoder. */
  readonly maxTextPositions: number;
  /** Those that can drive the model, its own first. */
  readonly schedulers: readonly [SchedulerName, ...SchedulerName[]];
  /** What its checkpoint says a request has where it says nothing. */
  readonly defaults?: RequestDefaults;
  /** The size the model draws at for a size asked for. Absent: it has no list of sizes it was trained on. */
  readonly bin?: (size: { width: number; height: number }) => { width: number; height: number };
}
