/** The public types of a pipeline's results. */

import type { SanaImage } from '../image/image.ts';
import type { DTypeName, RequestFields, TensorLike } from '../request/types.ts';

/** One call of `generate`. Everything but `prompt` has a default. */
export interface GenerateRequest extends RequestFields<StepInfo> {}

/** A finished step. */
export interface StepInfo {
  /** The number of finished steps, 1 to `totalSteps`. */
  readonly step: number;
  readonly totalSteps: number;
  /** The schedule's timestep. */
  readonly timestep: number;
  /** The share of noise in the latents before the step. */
  readonly sigma: number;
  /** Milliseconds since `generate` was called. */
  readonly elapsedMs: number;
  /** The latents after the step, [B, 32, h, w]. Available until the callback's promise settles. */
  latents(): Promise<TensorLike>;
  /**
   * The first image, decoded from the current estimate of its clean latents. Available until the callback's promise
   * settles.
   */
  preview(): Promise<SanaImage>;
}

/** Wall time of the parts of one call, in milliseconds. */
export interface Timings {
  readonly textMs: number; // tokens and text encoder
  readonly imageMs: number; // encoding `image` and `controlImage`; 0 without
  readonly denoiseMs: number; // all steps, callbacks included
  readonly stepMs: readonly number[]; // each step, without callbacks
  readonly decodeMs: number; // autoencoder, resize and crop; 0 for outputType 'latent'
  readonly totalMs: number;
}

export interface GenerateResult {
  /** In the order of the prompts, with the images of one prompt together. Empty for outputType 'latent'. */
  readonly images: SanaImage[];
  /** [B, 32, h, w] float32 in the transformer's scale, for outputType 'latent'. */
  readonly latents?: TensorLike;
  /** The seed of each image. */
  readonly seeds: readonly bigint[];
  readonly timings: Timings;
  /** The peak of device memory during the call, including weights. */
  readonly memory: { readonly peakBytes: number };
}

/** One operator of a stage. */
export interface ExplainedOperator {
  readonly op: string;
  /** The part of the model that it belongs to: 'block 3 > attn1'. */
  readonly scope: string;
  /** The shapes of its operands. */
  readonly shapes: string;
  /** The dtype that it computes in, which limits its speed: f32, bf16, f16, i8 or f8. */
  readonly dtype: string;
  readonly flops: number;
  /** Bytes read and written if every operand is accessed once. */
  readonly bytes: number;
}

/** The parts of a generation, in the order in which they run. */
export type GenerationStage = 'text' | 'pictures' | 'denoise' | 'decode';

/** One program of a generation, e.g. a denoising step. */
export interface ExplainedStage {
  readonly name: string;
  /** The part of the generation that runs it. */
  readonly stage: GenerationStage;
  /** How many times a generation runs it. */
  readonly runs: number;
  readonly operators: readonly ExplainedOperator[];
  readonly flops: number; // of one run
  readonly bytes: number; // of one run
  /** Memory of the intermediates. */
  readonly arenaBytes: number;
  /** All device memory in use while it runs. */
  readonly peakBytes: number;
  /** Rows decoded at a time, if the picture is decoded in bands: because it is high or little memory is free. */
  readonly bandRows?: number;
}

/** An operator that ran, and its time. */
export interface ProfiledOperator extends ExplainedOperator {
  readonly ms: number;
}

/** One run of a program. */
export interface ProfiledStage {
  readonly name: string;
  readonly operators: readonly ProfiledOperator[];
}

/** What a request would run, computed without running it. */
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
  /** Device memory by use; `peakBytes` is the most in use at once. */
  readonly memory: {
    readonly weightsBytes: number;
    readonly stateBytes: number;
    readonly arenaBytes: number;
    /** Workspaces of the device's kernels. */
    readonly workspaceBytes: number;
    readonly peakBytes: number;
  };
}
