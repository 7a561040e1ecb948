/** What a caller passes to a pipeline, and what a picture records of it: types of the public surface. */

import type { Sharp } from 'sharp';
import type { DTypeName } from '../base/dtypes.ts';
import type { SchedulerName } from '../schedulers/index.ts';

export type { DTypeName, SchedulerName };

export type DeviceName = 'auto' | 'cpu' | 'cuda' | `cuda:${number}`;
export type DecodeTiling = 'auto' | 'blend';

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

/** Options of `SanaPipeline.fromPretrained`. */
export interface LoadOptions {
  /** Where to compute. `auto` (the default): the first usable GPU, else the CPU. */
  readonly device?: DeviceName;
  /**
   * What to compute in. `auto` (the default): bfloat16 where the device computes it, else float32. `int8`: bfloat16, and
   * the matrix products of the transformer's blocks in bytes. `fp8`: the same with floating-point numbers of 8 bits
   * (e4m3), on GPUs of compute capability 8.9 and later.
   */
  readonly dtype?: 'auto' | DTypeName;
  /** The files to load where a folder holds several: `fp16` for `*.fp16.safetensors`. Default: the unsuffixed ones. */
  readonly variant?: string;
  /** Of a hub repository: a branch, tag or commit. Default: `main`. A commit always gives the same model. */
  readonly revision?: string;
  /** Where repositories are kept. Default: Python's own cache: `HF_HUB_CACHE`, `HF_HOME`, `~/.cache/huggingface/hub`. */
  readonly cacheDir?: string;
  /** Take a repository from the cache, and ask nothing of the network. `HF_HUB_OFFLINE=1` does so, too. */
  readonly localFilesOnly?: boolean;
  /** For repositories that are private or gated. Default: `HF_TOKEN`, or what `hf auth login` left. */
  readonly token?: string;
  /** Threads of the CPU device. Default: one per core. */
  readonly threads?: number;
  /**
   * What is given back while it is not needed: nothing (the default), the text encoder once the prompt is encoded, or
   * every model once it has done its part. What was given back is read again at the next call.
   */
  readonly offload?: 'none' | 'text-encoder' | 'sequential';
  /**
   * A ControlNet to draw with: its folder, or that of a checkpoint that has one in `controlnet/`, or a hub repository
   * of either kind, of which only the ControlNet is downloaded. In the place of the checkpoint's own where it has one.
   */
  readonly controlnet?: string;
  /**
   * Folder in which the keys and values of instructions are kept, so that each is computed once and not once a process;
   * null: none. Default: `~/.cache/sana-native/instructions` (`XDG_CACHE_HOME`), 22 MB for a released model's in
   * bfloat16, at most 512 MB in all; not for models whose text encoder is small.
   */
  readonly instructionCache?: string | null;
  readonly onProgress?: (event: LoadProgress) => void;
  readonly signal?: AbortSignal;
}

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

/** One call of `generate`. Everything but `prompt` has a default. `Step` is what `onStep` is called with. */
export interface RequestFields<Step = never> {
  /** What to draw: one text, or a list of texts that are drawn as one batch. Cut to the model's token limit. */
  readonly prompt: string | readonly string[];
  /** What to keep away from, for all prompts or one for each. Default: ''. Not for Sprint models. */
  readonly negativePrompt?: string | readonly string[];
  /** Pixels. Default: the model's native size, with a control image too. Any size with resolution binning, multiples of 32 without. */
  readonly width?: number;
  readonly height?: number;
  /** Denoising steps. Default: what the checkpoint's `generation_config.json` says, else 20; 2 for Sprint models. */
  readonly numInferenceSteps?: number;
  /** Strength of the prompt; 1 and less is without guidance (half the work). Default: the checkpoint's, else 4.5. */
  readonly guidanceScale?: number;
  /**
   * Perturbed-attention guidance: how far to move away from what the model draws when the tokens of one block see only
   * themselves. 0: without it (the default); it makes a step half as long again. The official demo uses 2.
   */
  readonly pagScale?: number;
  /** Default: the one of the model's scheduler configuration. */
  readonly scheduler?: SchedulerName;
  /** Of Sprint models: where the first step starts, an angle of at most 1.5708, which is the default. */
  readonly maxTimesteps?: number;
  /** Of Sprint models with two steps: where the second one starts; `null`: halfway. Default: 1.3. */
  readonly intermediateTimesteps?: number | null;
  /** Image to image: what to start from. The size drawn is the picture's own where none is given. */
  readonly image?: ImageInput;
  /**
   * How far `image` is left behind, above 0 and up to 1: the share of the steps that are done, from its latents noised
   * to the level where they begin. Default: 0.6; with a mask 1.
   */
  readonly strength?: number;
  /**
   * Inpainting: white is drawn anew, black stays as it is in `image`, to the pixel; grey is a mixture, so a soft edge
   * makes a soft transition.
   */
  readonly maskImage?: ImageInput;
  /** Images of each prompt. Default: 1. */
  readonly numImagesPerPrompt?: number;
  /**
   * Where the noise comes from, 0 to 2^64 - 1. Image i of the call has the seed `seed + i` of its own, with which it
   * can be made alone; a list gives each image's seed. Default: a random one, reported in `seeds`.
   */
  readonly seed?: number | bigint | readonly (number | bigint)[];
  /** Start from these instead of noise, with `image` too: [B, 32, height / 32, width / 32] of the size that the model draws at. */
  readonly latents?: TensorLike;
  /**
   * Of models with a ControlNet, which need it: the picture to draw by, an edge or scribble map. One for all prompts, or a
   * list of one for each. It is stretched to the size that the model draws at, which it does not decide.
   */
  readonly controlImage?: ImageInput | readonly ImageInput[];
  /** How much the ControlNet adds; 0: nothing. Default: 1. */
  readonly controlnetConditioningScale?: number;
  /**
   * The text put before the prompt, in lines; `null`: none. Default: the checkpoint's, else the one that the released
   * models were trained with.
   */
  readonly complexHumanInstruction?: readonly string[] | null;
  /** Strip links, tags and file names from prompts. Default: false. */
  readonly cleanCaption?: boolean;
  /** Tokens of the prompt that are used. Default: 300. */
  readonly maxSequenceLength?: number;
  /**
   * Draw at the nearest size of those the model was trained on, then resize and crop to the size asked for. Default:
   * true where the model has such a list of sizes.
   */
  readonly useResolutionBinning?: boolean;
  /**
   * Multiplies the scales of all LoRA adapters, for this call: the weights are merged anew where it differs from the
   * call before. Default: 1. Only where an adapter is loaded.
   */
  readonly loraScale?: number;
  /** `latent`: stop before decoding; `images` is then empty and `latents` is set. Default: `image`. */
  readonly outputType?: 'image' | 'latent';
  /**
   * How latents become pixels. `auto` (the default): exactly, in bands where it is high or does not fit into memory.
   * `blend`: as the reference does with tiling enabled, for comparisons: overlapping tiles of 512 pixels (1024 for
   * models of 4096 pixels) that know nothing of each other, blended at their edges. Its seams show.
   */
  readonly decodeTiling?: DecodeTiling;
  /**
   * Called after each step; a promise it returns is awaited before the next one, an error it throws ends the call. Do
   * not await another call or `dispose` of the same pipeline in it: they wait for this call to end.
   */
  readonly onStep?: (step: Step) => void | Promise<void>;
  /** Aborts the call: it rejects with `signal.reason`, at the latest after the operator that is running. */
  readonly signal?: AbortSignal;
}

/** A request whose pictures are pixels: what their files held when the request was made. */
export type ReadRequest<Step = never> = Omit<RequestFields<Step>, 'image' | 'maskImage' | 'controlImage'> & {
  readonly image?: RawImage;
  readonly maskImage?: RawImage;
  readonly controlImage?: RawImage | readonly RawImage[];
};

/** Defaults that a checkpoint sets. A field that is absent is left to the kind of model. */
export interface RequestDefaults {
  readonly numInferenceSteps?: number;
  readonly guidanceScale?: number;
  /** null: nothing is put before the prompt. */
  readonly complexHumanInstruction?: readonly string[] | null;
}

/** Options of `SanaPipeline.loadLora`. */
export interface LoraOptions {
  /** Strength of the adapter, times that of its file; negative ones turn it around. Default: 1. */
  readonly scale?: number;
  /** What to call it, for `unloadLora` and in images' metadata. Default: the name of the file, or of its folder. */
  readonly name?: string;
  readonly signal?: AbortSignal;
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

/**
 * Everything that is enough to make one image again, as plain JSON: what was asked for, under the names that
 * `generate` takes it by, and what it was made on.
 */
export interface GenerationParameters {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly width: number;
  readonly height: number;
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  readonly scheduler: SchedulerName;
  /** Decimal: seeds go up to 2^64 - 1, which a JSON number cannot hold. */
  readonly seed: string;
  /** Only when it was not the default one; `null`: none. */
  readonly complexHumanInstruction?: readonly string[] | null;
  readonly cleanCaption: boolean;
  readonly maxSequenceLength: number;
  readonly useResolutionBinning: boolean;
  /** Only when it was not 'auto'. */
  readonly decodeTiling?: DecodeTiling;
  /** Only of a Sprint model's request that had them. */
  readonly maxTimesteps?: number;
  readonly intermediateTimesteps?: number | null;
  /** Only with perturbed-attention guidance. */
  readonly pagScale?: number;
  /** Only of image to image, with the SHA-256 of the pixels of `image` and `maskImage`, hexadecimal. */
  readonly strength?: number;
  readonly imageSha256?: string;
  readonly maskSha256?: string;
  /** Only when the image did not start from the seed's noise: SHA-256 of its start latents' bytes, hexadecimal. */
  readonly latentsSha256?: string;
  /** Of models with a ControlNet. */
  readonly controlnetConditioningScale?: number;
  /** Only with a control image: SHA-256 of its RGB bytes, hexadecimal. */
  readonly controlImageSha256?: string;
  /** Only when there were LoRA adapters, in the order they were loaded. */
  readonly loras?: readonly Lora[];
  /** Only when it was not 1. */
  readonly loraScale?: number;
  /** The model's name (never a path) and a fingerprint of its weights. */
  readonly model: string;
  readonly modelFingerprint: string;
  readonly dtype: DTypeName;
  /** Instruction path of the device: 'avx512-bf16', 'avx2', 'sm_90', ... The same path gives the same bytes. */
  readonly devicePath: string;
  /** Version of this package. */
  readonly version: string;
}
