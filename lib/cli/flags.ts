/** Flags that several commands take, and how their values are read. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { publicDtypeNames } from '../base/dtypes.ts';
import {
  BUILT_IN_MODEL,
  DECODE_TILINGS,
  type GenerateRequest,
  LIMITS,
  type LoadOptions,
  SCHEDULERS,
} from '../index.ts';
import { usageError } from './output.ts';

/** What the model flags give. */
export interface ModelFlags {
  readonly model?: string;
  readonly device?: NonNullable<LoadOptions['device']>;
  readonly dtype?: NonNullable<LoadOptions['dtype']>;
  readonly variant?: string;
  readonly revision?: string;
  readonly cacheDir?: string;
  readonly localFilesOnly?: boolean;
  readonly threads?: number;
  readonly offload?: NonNullable<LoadOptions['offload']>;
  readonly controlnet?: string;
  readonly instructionCache?: string | false;
}

/** What the request flags give: fields of a request as they are, but for the files and the instruction. */
export type RequestFlags = Omit<
  Partial<GenerateRequest>,
  'prompt' | 'latents' | 'complexHumanInstruction' | 'seed' | 'image' | 'maskImage' | 'intermediateTimesteps'
> & {
  readonly seed?: bigint[];
  readonly latents?: string;
  readonly image?: string;
  readonly maskImage?: string;
  readonly intermediateTimesteps?: number | 'none';
  readonly complexHumanInstruction?: string | false;
};

export function addModelFlags(command: Command): Command {
  return command
    .option(
      '--model <folder>',
      "checkpoint folder in diffusers layout, or hub repository owner/name (default: 'sana-tiny', part of the package)",
    )
    .option('--device <name>', "'auto', 'cpu', 'cuda' or 'cuda:0'")
    .addOption(new Option('--dtype <type>', 'what to compute in').choices(['auto', ...publicDtypeNames]))
    .option('--controlnet <folder>', 'a ControlNet to draw with, folder or hub repository; it needs --control-image')
    .option('--variant <name>', "the files to load where there are several, e.g. 'fp16'")
    .option('--revision <name>', 'of a hub repository: branch, tag or commit (default: main)')
    .option('--cache-dir <folder>', "where repositories are kept (default: Python's cache, HF_HUB_CACHE)")
    .option('--local-files-only', 'take a repository from the cache, and ask nothing of the network')
    .option('--instruction-cache <folder>', 'where computed instructions are kept (default: ~/.cache/sana-native)')
    .option('--no-instruction-cache', 'keep none, and read none')
    .option('--threads <count>', 'threads of the CPU (default: one per core)', integer(1, 1024))
    .addOption(
      new Option('--offload <what>', 'what leaves memory while it is not needed').choices([
        'none',
        'text-encoder',
        'sequential',
      ]),
    );
}

/** `--lora FILE[:SCALE]`. */
export interface LoraFlag {
  readonly path: string;
  readonly scale?: number;
}

export interface LoraFlags {
  readonly lora?: readonly LoraFlag[];
}

export function addLoraFlags(command: Command): Command {
  return command
    .option('--lora <file[:scale]>', 'a LoRA adapter to draw with, and its strength (default: 1); repeatable', loras)
    .option('--lora-scale <number>', 'multiplies the scales of all adapters', finite);
}

export function addRequestFlags(command: Command): Command {
  return command
    .option('--negative-prompt <text>', 'what to keep away from')
    .option('-W, --width <pixels>', "default: the model's native size", integer(LIMITS.minSize, LIMITS.maxSize))
    .option('-H, --height <pixels>', "default: the model's native size", integer(LIMITS.minSize, LIMITS.maxSize))
    .option(
      '--num-inference-steps <count>',
      "denoising steps (default: the model's, mostly 20)",
      integer(1, LIMITS.maxSteps),
    )
    .addOption(
      new Option('--steps <count>', 'short for --num-inference-steps')
        .argParser(integer(1, LIMITS.maxSteps))
        .conflicts('numInferenceSteps'),
    )
    .option(
      '--guidance-scale <number>',
      "strength of the prompt; 1: without guidance (default: the model's, mostly 4.5)",
      finite,
    )
    .addOption(new Option('--scheduler <name>', "default: the model's own").choices([...SCHEDULERS]))
    .option('--pag-scale <number>', 'strength of perturbed-attention guidance (default: 0, without it)', finite)
    .option('--image <file>', 'start from this picture instead of noise')
    .option('--strength <number>', 'how far to leave --image behind, up to 1 (default: 0.6, with a mask 1)', finite)
    .option('--mask-image <file>', 'draw only where this picture is white')
    .option('--max-timesteps <angle>', 'of Sprint models: where the first step starts (default: 1.5708)', finite)
    .option(
      '--intermediate-timesteps <angle>',
      "of Sprint models: where the second of two steps starts, or 'none' (default: 1.3)",
      (text) => (text === 'none' ? text : finite(text)),
    )
    .option('-n, --num-images-per-prompt <count>', 'images (default: 1)', integer(1, LIMITS.maxImages))
    .option('--seed <seed>', 'image i has seed + i; or a list, 1,2,3 (default: random)', seeds)
    .option('--latents <file>', 'start from the latents of a .safetensors file')
    .option('--control-image <file>', 'the picture to draw by: an edge or scribble map, for models with a ControlNet')
    .option('--controlnet-conditioning-scale <number>', 'how much the ControlNet adds (default: 1)', finite)
    .option('--complex-human-instruction <text>', 'the text put before the prompt')
    .option('--no-complex-human-instruction', 'put nothing before the prompt')
    .option('--clean-caption', 'strip links, tags and file names from the prompt')
    .option('--max-sequence-length <tokens>', 'tokens of the prompt that are used (default: 300)', integer(2, 2 ** 24))
    .option('--use-resolution-binning', 'draw at a size the model was trained on, then resize and crop')
    .option('--no-use-resolution-binning', 'draw at the size given, a multiple of 32')
    .addOption(
      new Option(
        '--decode-tiling <how>',
        "'blend': overlapping tiles, as the reference does (default: auto, exact)",
      ).choices([...DECODE_TILINGS]),
    );
}

/** The adapters to load. */
export function lorasOf({ lora = [], loraScale }: LoraFlags & RequestFlags): readonly LoraFlag[] {
  if (loraScale === undefined || lora.length > 0) return lora;
  throw usageError('`--lora-scale` needs an adapter', 'Pass it with --lora FILE, or leave --lora-scale out.');
}

/** The model to load and the options to load it with. */
export function modelOf(flags: ModelFlags): { model: string; options: LoadOptions } {
  const { model = BUILT_IN_MODEL, device, dtype, variant, threads, offload, controlnet } = flags;
  const { revision, cacheDir, localFilesOnly } = flags;
  const source = { revision, cacheDir, localFilesOnly };
  const instructionCache = flags.instructionCache === false ? null : flags.instructionCache;
  return {
    model,
    options: defined({ device, dtype, variant, ...source, threads, offload, controlnet, instructionCache }),
  };
}

/** The fields of a request that flags gave. */
export function requestOf(
  flags: RequestFlags & { readonly steps?: number },
): Omit<Partial<GenerateRequest>, 'latents'> {
  const { seed, complexHumanInstruction: instruction, steps, numInferenceSteps = steps } = flags;
  return defined({
    negativePrompt: flags.negativePrompt,
    width: flags.width,
    height: flags.height,
    numInferenceSteps,
    guidanceScale: flags.guidanceScale,
    scheduler: flags.scheduler,
    pagScale: flags.pagScale,
    image: flags.image,
    strength: flags.strength,
    maskImage: flags.maskImage,
    maxTimesteps: flags.maxTimesteps,
    intermediateTimesteps: flags.intermediateTimesteps === 'none' ? null : flags.intermediateTimesteps,
    numImagesPerPrompt: flags.numImagesPerPrompt,
    seed: seed?.length === 1 ? seed[0] : seed,
    complexHumanInstruction: instruction === false ? null : instruction?.split('\n'),
    cleanCaption: flags.cleanCaption,
    maxSequenceLength: flags.maxSequenceLength,
    useResolutionBinning: flags.useResolutionBinning,
    loraScale: flags.loraScale,
    outputType: flags.outputType,
    controlImage: flags.controlImage,
    controlnetConditioningScale: flags.controlnetConditioningScale,
    decodeTiling: flags.decodeTiling,
  });
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The same without the fields that are undefined. */
export function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}

export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new InvalidArgumentError(`It is an integer from ${min} to ${max}.`);
    return value;
  };
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function finite(text: string): number {
  const value = NUMBER.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(Math.fround(value))) throw new InvalidArgumentError('It is a finite number.');
  return value;
}

/** What follows the last colon is the scale where it is a number: paths may have colons too. */
export function loras(text: string, before: readonly LoraFlag[] = []): LoraFlag[] {
  const [, path, scale] = /^(.+):([^:]*)$/s.exec(text) ?? [];
  const scaled = path !== undefined && scale !== undefined && NUMBER.test(scale);
  const flag = scaled ? { path, scale: finite(scale) } : { path: text };
  if (flag.path === '') throw new InvalidArgumentError('It is a .safetensors file, or a folder that holds one.');
  return [...before, flag];
}

function seeds(text: string): bigint[] {
  const list = text.split(',').map((item) => (/^\d{1,20}$/.test(item.trim()) ? BigInt(item) : -1n));
  if (list.some((seed) => seed < 0n || seed >= 2n ** 64n)) {
    throw new InvalidArgumentError('It is an integer from 0 to 2^64 - 1. Leave it out for a random one.');
  }
  return list;
}
