import type { RequestDefaults, SchedulerName } from './values.ts';

/** The properties of a model that requests are checked against. */
export interface ModelTraits {
  readonly kind: 'sana' | 'sprint' | 'controlnet';
  /** Pixels per side that the model was trained on. */
  readonly nativeSize: number;
  readonly latentChannels: number;
  /** Pixels per latent, in both directions. */
  readonly compression: number;
  /** The number of positions of the text encoder. */
  readonly maxTextPositions: number;
  /** The schedulers that work with the model, its own first. */
  readonly schedulers: readonly [SchedulerName, ...SchedulerName[]];
  /** The checkpoint's defaults for fields that a request leaves out. */
  readonly defaults?: RequestDefaults;
  /** The size that the model draws at for a requested size. Absent if it was not trained on a list of sizes. */
  readonly bin?: (size: { width: number; height: number }) => { width: number; height: number };
}
