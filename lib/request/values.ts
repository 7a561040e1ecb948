/** The public types of options' values. */

import type { Sharp } from 'sharp';
import type { DTypeName } from '../base/dtypes.ts';
import type { SchedulerName } from '../schedulers/index.ts';
import type { DECODE_TILINGS } from './choices.ts';

export type { DTypeName, SchedulerName };

export type DeviceName = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;
export type DecodeTiling = (typeof DECODE_TILINGS)[number];

/** Numbers with a shape, row-major. Latents and images of components are in NCHW order. */
export interface TensorLike {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Pixels as plain data: RGB, row-major, `width * height * 3` bytes. */
export interface RawImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array; // [height, width, 3]
}

/** A picture as input: a path, an encoded file, raw RGB (such as a `SanaImage`), or a sharp instance. */
export type ImageInput = string | Buffer | RawImage | Sharp;

/** The progress of loading. */
export interface LoadProgress {
  /**
   * `download`: files of a repository are fetched, none if all are cached; `open`: configurations and headers are read;
   * `load`: weights are read and packed; `ready`: the last event.
   */
  readonly phase: 'download' | 'open' | 'load' | 'ready';
  /** The component being loaded: `text_encoder`, `transformer`, `vae`, `controlnet`. */
  readonly component?: string;
  /** Bytes so far: of all components or, for a download, of all files, including what was there before. */
  readonly loadedBytes: number;
  /** Total bytes; 0 while unknown. */
  readonly totalBytes: number;
  /** For a download: the speed over the last seconds; 0 while unknown. */
  readonly bytesPerSecond?: number;
  /** For a download: the time that is left, once there is a speed. */
  readonly etaMs?: number;
  /** For a download: the file that the last bytes belong to, such as `transformer/config.json`. */
  readonly file?: string;
}

/** Defaults that a checkpoint sets. For absent fields, the default is that of the kind of model. */
export interface RequestDefaults {
  readonly numInferenceSteps?: number;
  readonly guidanceScale?: number;
  /** null: nothing is put before the prompt. */
  readonly complexHumanInstruction?: readonly string[] | null;
}

/** A LoRA adapter of a pipeline. */
export interface Lora {
  readonly name: string;
  readonly scale: number;
  /** The SHA-256 of the whole file, hexadecimal. */
  readonly sha256: string;
}

/** What `SanaPipeline.loadLora` has loaded. */
export interface LoadedLora extends Lora {
  /** The number of matrices of the transformer that it changes. */
  readonly matrices: number;
  /** What the file contains that is not used. */
  readonly warnings: readonly string[];
}
