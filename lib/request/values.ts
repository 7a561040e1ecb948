/** What the values of options are made of: types of the public surface. */

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

/** A picture given to the package: a path, an encoded file, raw RGB, which a `SanaImage` is, or a sharp instance. */
export type ImageInput = string | Buffer | RawImage | Sharp;

/** How far loading is. */
export interface LoadProgress {
  /**
   * `download`: files of a repository are fetched, none if all are there; `open`: configurations and headers are read;
   * `load`: weights are read and packed; `ready`: the last event.
   */
  readonly phase: 'download' | 'open' | 'load' | 'ready';
  /** The part of the checkpoint at hand: `text_encoder`, `transformer`, `vae`, `controlnet`. */
  readonly component?: string;
  /** Bytes so far: of weights, of all components; of a download, of all files, what was there before included. */
  readonly loadedBytes: number;
  /** Bytes in all; 0 while it is not known. */
  readonly totalBytes: number;
  /** Of a download: over the last seconds; 0 while it is not known. */
  readonly bytesPerSecond?: number;
  /** Of a download: the time that is left, once there is a speed. */
  readonly etaMs?: number;
  /** Of a download: the file that the last bytes were of, `transformer/config.json`. */
  readonly file?: string;
}

/** Defaults that a checkpoint sets. A field that is absent is left to the kind of model. */
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
  /** Of the whole file, hexadecimal. */
  readonly sha256: string;
}

/** What `SanaPipeline.loadLora` has loaded. */
export interface LoadedLora extends Lora {
  /** How many matrices of the transformer it changes. */
  readonly matrices: number;
  /** What was in the file and is not used. */
  readonly warnings: readonly string[];
}
