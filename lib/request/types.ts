/**
 * The public types of the options of a pipeline, and of the record of how a picture was made.
 *
 * `npm run generate` writes this file from the tables of this folder: change their rows.
 */

import type {
  DecodeTiling,
  DeviceName,
  DTypeName,
  ImageInput,
  LoadProgress,
  Lora,
  RawImage,
  SchedulerName,
  TensorLike,
} from './values.ts';

export type {
  DecodeTiling,
  DeviceName,
  DTypeName,
  ImageInput,
  LoadedLora,
  LoadProgress,
  Lora,
  RawImage,
  RequestDefaults,
  SchedulerName,
  TensorLike,
} from './values.ts';

/** Options of `SanaPipeline.fromPretrained`. */
export interface LoadOptions {
  /** Where to compute. `auto`: the first usable GPU, otherwise the CPU. Default: `'auto'`. */
  readonly device?: DeviceName;
  /**
   * Dtype to compute in. `auto`: bfloat16 on a GPU and on CPUs with AVX512-BF16, otherwise float32. `float16`: only on
   * a GPU. `int8`: the matrix products of the transformer's blocks in int8, everything else in bfloat16. `fp8`: the
   * same in 8-bit floating point (e4m3), on GPUs of compute capability 8.9 and later. Default: `'auto'`.
   */
  readonly dtype?: 'auto' | DTypeName;
  /**
   * Which weight files, if there are several. `'fp16'` selects `*.fp16.safetensors`. Default: the files without suffix.
   */
  readonly variant?: string;
  /** Which revision of a hub repository. A commit always gives the same model. Default: `main`. */
  readonly revision?: string;
  /**
   * Cache folder for hub repositories. The default is Python's cache. Default: `HF_HUB_CACHE`, otherwise `hub` in
   * `HF_HOME`, otherwise `~/.cache/huggingface/hub`.
   */
  readonly cacheDir?: string;
  /** Use the cache only, not the network. Default: `false`, or `HF_HUB_OFFLINE`. */
  readonly localFilesOnly?: boolean;
  /** For gated and private repositories. Default: `HF_TOKEN`, otherwise that of `hf auth login`. */
  readonly token?: string;
  /** Threads of the CPU device. Default: one per core that the process may use (affinity and container quota count). */
  readonly threads?: number;
  /**
   * What to remove from memory while it is not needed. Nothing, the text encoder once the prompt is encoded, or every
   * model once it has done its part. It is read again at the next call. Default: `'none'`.
   */
  readonly offload?: 'none' | 'text-encoder' | 'sequential';
  /**
   * The ControlNet to use. Its folder, or that of a checkpoint that has one in `controlnet/`, or a hub repository of
   * either kind, from which only the ControlNet is downloaded. Not for Sprint models. Default: the checkpoint's own.
   */
  readonly controlnet?: string;
  /**
   * Folder for the computed keys and values of instructions. Each instruction is then computed once, not once per
   * process. They take 22 MB each in bfloat16, 512 MB at most. `null`: none is kept or read. Default:
   * `~/.cache/sana-native/instructions`; none for a small text encoder.
   */
  readonly instructionCache?: string | null;
  /** Called with `{ phase, loadedBytes, totalBytes, ... }`. */
  readonly onProgress?: (event: LoadProgress) => void;
  /** Ends loading. Loading rejects with `signal.reason`. */
  readonly signal?: AbortSignal;
}

/**
 * One call of `generate`. Everything except `prompt` has a default. `Step` is the type that `onStep` is called with.
 */
export interface RequestFields<Step = never> {
  /** What to draw. A list is drawn as one batch. Cut to `maxSequenceLength` tokens. */
  readonly prompt: string | readonly string[];
  /** What to avoid. It has an effect only with guidance. Default: `''`. Not for Sprint. */
  readonly negativePrompt?: string | readonly string[];
  /**
   * Where the noise comes from. Image *i* of a call has the seed `seed + i`, with which it can be made again alone; a
   * list has one for each image. As in torch, the noise depends only on the low 32 bits. Default: random, reported in
   * `seeds`.
   */
  readonly seed?: number | bigint | readonly (number | bigint)[];
  /** Width of the pictures. Default: the model's native size; with `image`, the picture's. */
  readonly width?: number;
  /** Height of the pictures. Default: the model's native size; with `image`, the picture's. */
  readonly height?: number;
  /** Denoising steps. Default: the checkpoint's `generation_config.json`, else 20; Sprint 2. */
  readonly numInferenceSteps?: number;
  /**
   * Strength of the prompt. At 1 or less there is no guidance, which halves the work. Sprint models embed it at no
   * extra cost. Default: the checkpoint's, else 4.5.
   */
  readonly guidanceScale?: number;
  /** The sampler. Default: the model's own. */
  readonly scheduler?: SchedulerName;
  /** Text before the prompt. Default: the checkpoint's, else that of the released models. */
  readonly complexHumanInstruction?: readonly string[] | null;
  /** Strip links, tags and file names from prompts. Default: `false`. */
  readonly cleanCaption?: boolean;
  /** How much of the prompt is used. Default: 300, or the positions if there are fewer. */
  readonly maxSequenceLength?: number;
  /** Draw at the nearest size that the model was trained on, then resize and crop. Default: `true` for these. */
  readonly useResolutionBinning?: boolean;
  /**
   * How latents become pixels. `auto`: exactly, in bands if the picture is high or does not fit into memory. `blend`:
   * like diffusers with tiling enabled, for comparisons: overlapping tiles of 512 pixels (1024 for models of 4096
   * pixels) are decoded independently and blended at their edges; the seams are visible. Default: `'auto'`.
   */
  readonly decodeTiling?: DecodeTiling;
  /** Where the first step starts. Default: 1.5708. Sprint only. */
  readonly maxTimesteps?: number;
  /** Where the second of two steps starts. Only with two steps. Default: 1.3 with two steps. Sprint only. */
  readonly intermediateTimesteps?: number | null;
  /**
   * Times of the steps, instead of the sampler's own. As in diffusers: `'flow-euler'` shifts them like its own; `'scm'`
   * takes the angle of each step and a 0 at the end. `numInferenceSteps` is the number of steps in the list. Default:
   * the sampler's own.
   */
  readonly timesteps?: readonly number[];
  /**
   * Noise levels of the steps, instead of the sampler's own. As in diffusers: only with `'flow-euler'`, which shifts
   * them like its own. `numInferenceSteps` is the length of the list. Default: the sampler's own.
   */
  readonly sigmas?: readonly number[];
  /**
   * Strength of perturbed-attention guidance. How far to move away from what the model draws when the tokens of one
   * block attend only to themselves. 0 turns it off; a step takes half as long again with it. The official demo uses 2.
   * Default: 0. Not for Sprint.
   */
  readonly pagScale?: number;
  /**
   * How much of the picture to change. The share of the steps that are run, starting from the latents of `image` with
   * the noise of that level. It needs `image`. Default: 0.6; with `maskImage` 1.
   */
  readonly strength?: number;
  /** Picture to start from instead of noise. If no size is given, its own size is used. */
  readonly image?: ImageInput;
  /**
   * Draw only where this picture is white. Where it is black, the pixels of `image` are kept exactly; grey gives a
   * mixture, so a soft edge gives a soft transition. It needs `image`.
   */
  readonly maskImage?: ImageInput;
  /** Latents to start from instead of noise. They have the size that the model draws at. Default: noise from `seed`. */
  readonly latents?: TensorLike;
  /** How much the ControlNet adds. 0: nothing. Default: 1. Models with a ControlNet only. */
  readonly controlnetConditioningScale?: number;
  /**
   * Control picture: an edge or scribble map. It is stretched to the size that the model draws at, but does not set
   * that size. Default: none; a model with a ControlNet requires it. Models with a ControlNet only.
   */
  readonly controlImage?: ImageInput | readonly ImageInput[];
  /**
   * Multiplies the scales of all adapters. For this call: the weights are merged again if it differs from the previous
   * call. An error without an adapter. Default: 1.
   */
  readonly loraScale?: number;
  /** Images of each prompt. Default: 1. */
  readonly numImagesPerPrompt?: number;
  /** `'latent'` stops before decoding. `images` is then empty, and `latents` is set. Default: `'image'`. */
  readonly outputType?: 'image' | 'latent';
  /**
   * Called after each step. A promise that it returns is awaited before the next step, and an error that it throws ends
   * the call. Do not await another call or `dispose` of the same pipeline in it: they wait for this call to end.
   */
  readonly onStep?: (step: Step) => void | Promise<void>;
  /** Ends the call. The call rejects with `signal.reason`, at the latest after the operator that is running. */
  readonly signal?: AbortSignal;
}

/** A request whose pictures are pixels, read from their files when the request was made. */
export type ReadRequest<Step = never> = Omit<RequestFields<Step>, 'image' | 'maskImage' | 'controlImage'> & {
  readonly image?: RawImage;
  readonly maskImage?: RawImage;
  readonly controlImage?: RawImage | readonly RawImage[];
};

/** Options of `SanaPipeline.loadLora`. */
export interface LoraOptions {
  /** Strength of the adapter, multiplied by that of its file. Negative values invert it. Default: 1. */
  readonly scale?: number;
  /** Its name for `unloadLora` and the metadata of pictures. Default: the file's name, or its folder's. */
  readonly name?: string;
  /** Ends the merge. `loadLora` rejects with `signal.reason`. */
  readonly signal?: AbortSignal;
}

/** How an image is encoded. A field that does not apply to the format is rejected. */
export interface EncodeOptions {
  /** Quality of the compression; a higher one makes a larger file. Default: JPEG and WebP 90, AVIF 60. */
  readonly quality?: number;
  /** Keep every pixel as it is. Default: `false`. */
  readonly lossless?: boolean;
  /** 0 is fast, 9 makes small files. Default: 6. */
  readonly compressionLevel?: number;
  /** Record in the file how the image was made. Default: `true`. */
  readonly metadata?: boolean;
}

/**
 * Everything needed to make one image again, as plain JSON: the request, with the field names of `generate`, and the
 * model and device.
 */
export interface GenerationParameters {
  readonly width: number;
  readonly height: number;
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  readonly scheduler: SchedulerName;
  /** Only when it was not the default one; `null`: none. */
  readonly complexHumanInstruction?: readonly string[] | null;
  readonly cleanCaption: boolean;
  readonly maxSequenceLength: number;
  readonly useResolutionBinning: boolean;
  /** Only when it was not `auto`. */
  readonly decodeTiling?: DecodeTiling;
  /** Only when it was given. */
  readonly maxTimesteps?: number;
  /** Only when it was given. */
  readonly intermediateTimesteps?: number | null;
  /** Only when it was given. */
  readonly timesteps?: readonly number[];
  /** Only when it was given. */
  readonly sigmas?: readonly number[];
  /** Only with perturbed-attention guidance. */
  readonly pagScale?: number;
  /** Only for image to image. */
  readonly strength?: number;
  /** Only for image to image: SHA-256 of the RGB bytes of `image`, hexadecimal. */
  readonly imageSha256?: string;
  /** Only for inpainting: SHA-256 of the RGB bytes of `maskImage`, hexadecimal. */
  readonly maskSha256?: string;
  /** Only when the image did not start from the seed's noise: SHA-256 of its start latents' bytes, hexadecimal. */
  readonly latentsSha256?: string;
  /** Only for models with a ControlNet. */
  readonly controlnetConditioningScale?: number;
  /** Only when there were LoRA adapters, in the order they were loaded. */
  readonly loras?: readonly Lora[];
  /** Only when it was not 1. */
  readonly loraScale?: number;
  /** The model's name, never a path. */
  readonly model: string;
  /** A fingerprint of its weights. */
  readonly modelFingerprint: string;
  readonly dtype: DTypeName;
  /** Instruction path of the device: 'avx512-bf16', 'avx2', 'sm_90', ... The same path gives the same bytes. */
  readonly devicePath: string;
  /** Version of this package. */
  readonly version: string;
  readonly prompt: string;
  readonly negativePrompt: string;
  /** Decimal: a JSON number cannot hold all seeds. */
  readonly seed: string;
  /** Only with a control image: SHA-256 of its RGB bytes, hexadecimal. */
  readonly controlImageSha256?: string;
}
