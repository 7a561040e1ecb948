/**
 * What a caller passes to a pipeline, and what a picture records of it: types of the public surface.
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
  /** Where to compute. `auto`: the first usable GPU, else the CPU. Default: `'auto'`. */
  readonly device?: DeviceName;
  /**
   * What to compute in. `auto`: bfloat16 on a GPU and on CPUs with AVX512-BF16, else float32. `float16`: on a GPU only.
   * `int8`: the matrix products of the transformer's blocks in bytes, all else in bfloat16. `fp8`: the same in
   * floating-point numbers of 8 bits (e4m3), on GPUs of compute capability 8.9 and later. Default: `'auto'`.
   */
  readonly dtype?: 'auto' | DTypeName;
  /**
   * Which weight files, where a folder holds several. `'fp16'` takes `*.fp16.safetensors`. Default: the files without
   * suffix.
   */
  readonly variant?: string;
  /** Which revision of a hub repository. A commit always gives the same model. Default: `main`. */
  readonly revision?: string;
  /**
   * Where repositories are kept. The default is Python's own cache. Default: `HF_HUB_CACHE`, else `hub` in `HF_HOME`,
   * else `~/.cache/huggingface/hub`.
   */
  readonly cacheDir?: string;
  /** Take a repository from the cache, and ask nothing of the network. Default: `false`, or `HF_HUB_OFFLINE`. */
  readonly localFilesOnly?: boolean;
  /** For gated and private repositories. Default: `HF_TOKEN`, else that of `hf auth login`. */
  readonly token?: string;
  /** Threads of the CPU device. Default: one per core that the process may use (affinity and container quota count). */
  readonly threads?: number;
  /**
   * What leaves memory while it is not needed. Nothing, the text encoder once the prompt is encoded, or every model
   * once it has done its part; it is read again at the next call. Default: `'none'`.
   */
  readonly offload?: 'none' | 'text-encoder' | 'sequential';
  /**
   * A ControlNet to draw with. Its folder, or that of a checkpoint that has one in `controlnet/`, or a hub repository
   * of either kind, of which only the ControlNet is downloaded. Not for Sprint models. Default: the checkpoint's own.
   */
  readonly controlnet?: string;
  /**
   * Where the computed keys and values of instructions are kept. Each is then computed once and not once a process: 22
   * MB each in bfloat16, 512 MB at most. `null`: none is kept or read. Default: `~/.cache/sana-native/instructions`;
   * none for a small text encoder.
   */
  readonly instructionCache?: string | null;
  /** Called with `{ phase, loadedBytes, totalBytes, ... }`. */
  readonly onProgress?: (event: LoadProgress) => void;
  /** Ends loading. It rejects with `signal.reason`. */
  readonly signal?: AbortSignal;
}

/** One call of `generate`. Everything but `prompt` has a default. `Step` is what `onStep` is called with. */
export interface RequestFields<Step = never> {
  /** What to draw. A list is drawn as one batch. Cut to `maxSequenceLength` tokens. */
  readonly prompt: string | readonly string[];
  /** What to keep away from. It has an effect with guidance only. Default: `''`. Not for Sprint. */
  readonly negativePrompt?: string | readonly string[];
  /**
   * Where the noise comes from. Image *i* of a call has the seed `seed + i` of its own, with which it can be made
   * alone; a list has one for each image. As in torch, the noise depends on the low 32 bits alone. Default: random,
   * reported in `seeds`.
   */
  readonly seed?: number | bigint | readonly (number | bigint)[];
  /** Width of the pictures. Default: the model's native size; with `image`, the picture's. */
  readonly width?: number;
  /** Height of the pictures. Default: the model's native size; with `image`, the picture's. */
  readonly height?: number;
  /** Denoising steps. Default: the checkpoint's `generation_config.json`, else 20; Sprint 2. */
  readonly numInferenceSteps?: number;
  /**
   * Strength of the prompt. 1 or less: without guidance, half the work. Sprint embeds it: no extra work. Default: the
   * checkpoint's, else 4.5.
   */
  readonly guidanceScale?: number;
  /** The sampler. Default: the model's own. */
  readonly scheduler?: SchedulerName;
  /** The text put before the prompt. Default: the checkpoint's, else that of the released models. */
  readonly complexHumanInstruction?: readonly string[] | null;
  /** Strip links, tags and file names from prompts. Default: `false`. */
  readonly cleanCaption?: boolean;
  /** How much of the prompt is used. Default: 300, or the positions where there are fewer. */
  readonly maxSequenceLength?: number;
  /** Draw at the nearest size that the model was trained on, then resize and crop. Default: `true` for these. */
  readonly useResolutionBinning?: boolean;
  /**
   * How latents become pixels. `auto`: exactly, in bands where the picture is high or does not fit into memory.
   * `blend`: as diffusers does with tiling enabled, for comparisons: overlapping tiles of 512 pixels (1024 for models
   * of 4096 pixels), each decoded without the others and blended at the edges; the seams show. Default: `'auto'`.
   */
  readonly decodeTiling?: DecodeTiling;
  /** Where the first step starts. Default: 1.5708. Sprint only. */
  readonly maxTimesteps?: number;
  /** Where the second of two steps starts. With two steps only. Default: 1.3 with two steps. Sprint only. */
  readonly intermediateTimesteps?: number | null;
  /**
   * Times of the steps, in place of the schedule. As diffusers takes them: `'flow-euler'` shifts them as it does its
   * own; `'scm'` takes the angle of each step and a 0 at the end. `numInferenceSteps` is as many as there are. Default:
   * the sampler's own.
   */
  readonly timesteps?: readonly number[];
  /**
   * Noise levels of the steps, in place of the schedule. As diffusers takes them: with `'flow-euler'` only, which
   * shifts them as it does its own. `numInferenceSteps` is as many as there are. Default: the sampler's own.
   */
  readonly sigmas?: readonly number[];
  /**
   * Strength of perturbed-attention guidance. How far to move away from what the model draws when the tokens of one
   * block see only themselves. 0: without it; it makes a step half as long again. The official demo uses 2. Default: 0.
   * Not for Sprint.
   */
  readonly pagScale?: number;
  /**
   * How far to leave the picture to start from behind. The share of the steps that are done, from the latents of
   * `image` noised to the level where they begin. It needs `image`. Default: 0.6; with `maskImage` 1.
   */
  readonly strength?: number;
  /** Picture to start from instead of noise. The size drawn is its own where none is given. */
  readonly image?: ImageInput;
  /**
   * Draw only where this picture is white. Black stays as it is in `image`, to the pixel; grey is a mixture, so a soft
   * edge makes a soft transition. It needs `image`.
   */
  readonly maskImage?: ImageInput;
  /** Latents to start from instead of noise. Of the size that the model draws at. Default: noise from `seed`. */
  readonly latents?: TensorLike;
  /** How much the ControlNet adds. 0: nothing. Default: 1. Models with a ControlNet only. */
  readonly controlnetConditioningScale?: number;
  /**
   * The picture to draw by: an edge or scribble map. It is stretched to the size that the model draws at, which it does
   * not decide. Default: none; a model with a ControlNet requires it. Models with a ControlNet only.
   */
  readonly controlImage?: ImageInput | readonly ImageInput[];
  /**
   * Multiplies the scales of all adapters. For this call: the weights are merged anew where it differs from the call
   * before. An error without an adapter. Default: 1.
   */
  readonly loraScale?: number;
  /** Images of each prompt. Default: 1. */
  readonly numImagesPerPrompt?: number;
  /** `'latent'` stops before decoding. `images` is then empty, and `latents` is set. Default: `'image'`. */
  readonly outputType?: 'image' | 'latent';
  /**
   * Called after each step. A promise it returns is awaited before the next one, an error it throws ends the call. Do
   * not await another call or `dispose` of the same pipeline in it: they wait for this call to end.
   */
  readonly onStep?: (step: Step) => void | Promise<void>;
  /** Ends the call. It rejects with `signal.reason`, at the latest after the operator that is running. */
  readonly signal?: AbortSignal;
}

/** A request whose pictures are pixels: what their files held when the request was made. */
export type ReadRequest<Step = never> = Omit<RequestFields<Step>, 'image' | 'maskImage' | 'controlImage'> & {
  readonly image?: RawImage;
  readonly maskImage?: RawImage;
  readonly controlImage?: RawImage | readonly RawImage[];
};

/** Options of `SanaPipeline.loadLora`. */
export interface LoraOptions {
  /** Strength of the adapter, times that of its file. Negative ones turn the adapter around. Default: 1. */
  readonly scale?: number;
  /** What to call it, for `unloadLora` and the metadata of pictures. Default: the file's name, or its folder's. */
  readonly name?: string;
  /** Ends the merge. It rejects with `signal.reason`. */
  readonly signal?: AbortSignal;
}

/** How an image is encoded. A field that does not apply to the format is rejected. */
export interface EncodeOptions {
  /** The higher, the larger the file. Default: JPEG and WebP 90, AVIF 60. */
  readonly quality?: number;
  /** Keep every pixel as it is. Default: `false`. */
  readonly lossless?: boolean;
  /** 0 is fast, 9 makes small files. Default: 6. */
  readonly compressionLevel?: number;
  /** Whether the file says what the image was made from. Default: `true`. */
  readonly metadata?: boolean;
}

/**
 * Everything that is enough to make one image again, as plain JSON: what was asked for, under the names that `generate`
 * takes it by, and what it was made on.
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
  /** Only of image to image. */
  readonly strength?: number;
  /** Only of image to image: SHA-256 of the RGB bytes of `image`, hexadecimal. */
  readonly imageSha256?: string;
  /** Only of inpainting: SHA-256 of the RGB bytes of `maskImage`, hexadecimal. */
  readonly maskSha256?: string;
  /** Only when the image did not start from the seed's noise: SHA-256 of its start latents' bytes, hexadecimal. */
  readonly latentsSha256?: string;
  /** Of models with a ControlNet. */
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
