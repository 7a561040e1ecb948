/** What comes out of a pipeline: types of the public surface. */

import type { SanaImage } from '../image/image.ts';
import type { DTypeName, RequestFields, TensorLike } from '../request/types.ts';

/** One call of `generate`. Everything but `prompt` has a default. */
export interface GenerateRequest extends RequestFields<StepInfo> {}

/** A step that has been done. */
export interface StepInfo {
  /** Steps done, 1 to `totalSteps`. */
  readonly step: number;
  readonly totalSteps: number;
  /** What the model saw as time. */
  readonly timestep: number;
  /** Share of noise that was in the latents before the step. */
  readonly sigma: number;
  /** Since the call of `generate`. */
  readonly elapsedMs: number;
  /** The latents after the step, [B, 32, h, w]. Only until the callback's promise settles. */
  latents(): Promise<TensorLike>;
  /** The picture that the first image's latents decode to now. Only until the callback's promise settles. */
  preview(): Promise<SanaImage>;
}

/** Wall time of the parts of one call, in milliseconds. */
export interface Timings {
  readonly textMs: number; // tokens and text encoder
  readonly imageMs: number; // encoding the pictures to start from and to draw by; 0 without
  readonly denoiseMs: number; // all steps, callbacks included
  readonly stepMs: readonly number[]; // each step, callbacks left out
  readonly decodeMs: number; // autoencoder, resize and crop; 0 for outputType 'latent'
  readonly totalMs: number;
}

export interface GenerateResult {
  /** Prompt by prompt, the images of one prompt together. Empty for outputType 'latent'. */
  readonly images: SanaImage[];
  /** [B, 32, h, w] float32 in the transformer's scale, for outputType 'latent'. */
  readonly latents?: TensorLike;
  /** The seed of each image. */
  readonly seeds: readonly bigint[];
  readonly timings: Timings;
  /** The most device memory that was in use during the call, weights included. */
  readonly memory: { readonly peakBytes: number };
}

/** One operator of a stage. */
export interface ExplainedOperator {
  readonly op: string;
  /** Where in the model it stands: 'block 3 > attn1'. */
  readonly scope: string;
  /** The shapes of its operands. */
  readonly shapes: string;
  /** What it computes with, which decides how fast it can be: f32, bf16, f16, i8 or f8. */
  readonly dtype: string;
  readonly flops: number;
  /** Bytes read and written when every operand is touched once. */
  readonly bytes: number;
}

/** One program of a generation, e.g. a denoising step. */
export interface ExplainedStage {
  readonly name: string;
  /** How often a generation runs it. */
  readonly runs: number;
  readonly operators: readonly ExplainedOperator[];
  readonly flops: number; // of one run
  readonly bytes: number; // of one run
  /** Memory of the intermediates. */
  readonly arenaBytes: number;
  /** All device memory in use while it runs. */
  readonly peakBytes: number;
  /** Rows of the picture that are decoded at a time, where it is decoded in bands: because it is high, or because of the memory free now. */
  readonly bandRows?: number;
}

/** An operator that ran, and how long it took. */
export interface ProfiledOperator extends ExplainedOperator {
  readonly ms: number;
}

/** A program that ran, once. */
export interface ProfiledStage {
  readonly name: string;
  readonly operators: readonly ProfiledOperator[];
}

/** What a request would run, found without running it. */
export interface Explanation {
  readonly model: string;
  readonly device: string;
  readonly devicePath: string;
  readonly dtype: DTypeName;
  readonly batch: number;
  /** The size that the model draws at. */
  readonly width: number;
  readonly height: number;
  readonly stages: readonly ExplainedStage[];
  readonly flops: number; // of the whole generation
  /** Device memory by what it holds; `peak` is the most in use at once. */
  readonly memory: {
    readonly weightsBytes: number;
    readonly stateBytes: number;
    readonly arenaBytes: number;
    /** What the device's kernels keep for themselves. */
    readonly workspaceBytes: number;
    readonly peakBytes: number;
  };
}
