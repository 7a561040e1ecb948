/** A request to `SanaPipeline.generate`: checked whole before any work, with its defaults filled in. */

import { randomInt } from 'node:crypto';
import { argumentError, SanaError } from '../base/errors.ts';
import { MAX_STEPS } from '../schedulers/schedule.ts';
import { MAX_TIMESTEPS, type ScmOptions } from '../schedulers/scm.ts';
import { type ControlRequest, checkControl } from './control-image.ts';
import {
  checkBoolean,
  checkChoice,
  checkFinite,
  checkFunction,
  checkInteger,
  checkKeys,
  checkList,
  checkSignal,
  checkText,
  MAX_TEXT_LENGTH,
} from './fields.ts';
import type { ModelTraits } from './model-traits.ts';
import type { DecodeTiling, RawImage, ReadRequest, RequestFields, SchedulerName, TensorLike } from './types.ts';

export const DECODE_TILINGS = ['auto', 'blend'] as const satisfies readonly DecodeTiling[];

/** The widest bounds that a request may have; a model may set narrower ones. */
export const LIMITS = {
  minSize: 32,
  maxSize: 8192,
  maxSteps: MAX_STEPS,
  maxImages: 64,
  maxTextLength: MAX_TEXT_LENGTH,
} as const;

/** Pixels per latent, in both directions. */
const LATENT_SCALE = 32;
const DEFAULT_STRENGTH = 0.6;
const MAX_SEED = 2n ** 64n - 1n;

/** A request that can be carried out, B images in all: image i is of prompt `floor(i / numImagesPerPrompt)`. */
export interface CheckedRequest<Step = never> {
  readonly prompts: readonly string[]; // [P]
  readonly negativePrompts: readonly string[]; // [P]
  /** The size asked for. */
  readonly width: number;
  readonly height: number;
  /** The size drawn at: multiples of 32. */
  readonly drawnWidth: number;
  readonly drawnHeight: number;
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  /** Whether the model runs without the prompt as well: not without guidance, nor where the model embeds its scale. */
  readonly guided: boolean;
  /** 0: none. */
  readonly pagScale: number;
  readonly scheduler: SchedulerName;
  /** What to start from, and the part of it to draw anew. */
  readonly image: RawImage | undefined;
  readonly maskImage: RawImage | undefined;
  readonly strength: number | undefined;
  /** The first step that is done: 0 without `image`. */
  readonly firstStep: number;
  /** Of Sprint models. */
  readonly timesteps: ScmOptions;
  readonly numImagesPerPrompt: number;
  readonly batch: number; // B = P x numImagesPerPrompt
  readonly seeds: readonly bigint[]; // [B]
  /** A copy: [B, latentChannels, drawnHeight / 32, drawnWidth / 32]. */
  readonly latents: TensorLike | undefined;
  /** Of models with a ControlNet. */
  readonly control: ControlRequest | undefined;
  /** undefined: the default instruction; an empty list: none. */
  readonly complexHumanInstruction: readonly string[] | undefined;
  readonly cleanCaption: boolean;
  readonly maxSequenceLength: number;
  readonly useResolutionBinning: boolean;
  /** undefined: 1. Given without an adapter, which only the pipeline can tell, it is an error. */
  readonly loraScale: number | undefined;
  readonly outputType: 'image' | 'latent';
  readonly decodeTiling: DecodeTiling;
  readonly onStep: NonNullable<RequestFields<Step>['onStep']> | undefined;
  readonly signal: AbortSignal | undefined;
}

const KNOWN = [
  'prompt',
  'negativePrompt',
  'width',
  'height',
  'numInferenceSteps',
  'guidanceScale',
  'scheduler',
  'maxTimesteps',
  'intermediateTimesteps',
  'image',
  'strength',
  'maskImage',
  'pagScale',
  'numImagesPerPrompt',
  'seed',
  'latents',
  'complexHumanInstruction',
  'cleanCaption',
  'maxSequenceLength',
  'useResolutionBinning',
  'loraScale',
  'outputType',
  'controlImage',
  'controlnetConditioningScale',
  'decodeTiling',
  'onStep',
  'signal',
] as const satisfies readonly (keyof RequestFields)[];

/**
 * Checks a request against a model. Throws `ERR_SANA_ARGUMENT`, naming the first field that is wrong. `planned`: nothing
 * will be drawn, so a picture that drawing needs may be missing.
 */
export function checkRequest<Step = never>(
  request: string | ReadRequest<Step>,
  model: ModelTraits,
  planned = false,
): CheckedRequest<Step> {
  const given: Partial<ReadRequest<Step>> = typeof request === 'string' ? { prompt: request } : request;
  checkKeys('request', given, KNOWN, {});
  const {
    prompt,
    negativePrompt,
    numInferenceSteps = model.defaults?.numInferenceSteps ?? (model.kind === 'sprint' ? 2 : 20),
    guidanceScale = model.defaults?.guidanceScale ?? 4.5,
    scheduler = model.schedulers[0],
    numImagesPerPrompt = 1,
    seed,
    latents,
    image,
    maskImage,
    complexHumanInstruction = model.defaults?.complexHumanInstruction,
    cleanCaption = false,
    maxSequenceLength = Math.min(300, model.maxTextPositions),
    loraScale,
    outputType = 'image',
    decodeTiling = 'auto',
    onStep,
    signal,
  } = given;

  const prompts = checkPrompts(prompt);
  checkInteger('numImagesPerPrompt', numImagesPerPrompt, 1, LIMITS.maxImages);
  const batch = prompts.length * numImagesPerPrompt;
  if (batch > LIMITS.maxImages) {
    throw argumentError(
      'numImagesPerPrompt',
      `at most ${LIMITS.maxImages} / ${prompts.length} prompts`,
      numImagesPerPrompt,
    );
  }
  const size = checkSize(given, model);
  checkInteger('numInferenceSteps', numInferenceSteps, 1, LIMITS.maxSteps);
  return {
    prompts,
    negativePrompts: checkNegativePrompts(negativePrompt, prompts.length, model),
    ...size,
    numInferenceSteps,
    ...checkStrength(given, numInferenceSteps),
    image,
    maskImage,
    guidanceScale: checkFinite('guidanceScale', guidanceScale),
    guided: model.kind !== 'sprint' && guidanceScale > 1,
    pagScale: checkPag(given, model),
    timesteps: checkTimesteps(given, numInferenceSteps, model),
    scheduler: checkChoice('scheduler', scheduler, model.schedulers),
    numImagesPerPrompt,
    batch,
    seeds: checkSeeds(seed, batch),
    latents: latents === undefined ? undefined : checkLatents(latents, batch, size, model),
    control: checkControl(given, prompts.length, model, planned),
    complexHumanInstruction: checkInstruction(complexHumanInstruction),
    cleanCaption: checkBoolean('cleanCaption', cleanCaption),
    // With an instruction, its first token and the last `maxSequenceLength - 1` are used: one alone means nothing.
    maxSequenceLength: checkInteger('maxSequenceLength', maxSequenceLength, 2, model.maxTextPositions),
    loraScale: loraScale === undefined ? undefined : checkFinite('loraScale', loraScale),
    outputType: checkChoice('outputType', outputType, ['image', 'latent']),
    decodeTiling: checkChoice('decodeTiling', decodeTiling, DECODE_TILINGS),
    onStep: onStep === undefined ? undefined : checkFunction('onStep', onStep),
    signal: signal === undefined ? undefined : checkSignal('signal', signal),
  };
}

/** The strength of perturbed-attention guidance. */
function checkPag({ pagScale = 0 }: Partial<ReadRequest>, model: ModelTraits): number {
  if (pagScale === 0) return 0;
  if (typeof pagScale !== 'number' || !(pagScale > 0 && pagScale <= 1000)) {
    throw argumentError('pagScale', 'a number from 0 to 1000', pagScale);
  }
  if (model.kind !== 'sprint') return pagScale;
  throw new SanaError('ERR_SANA_ARGUMENT', '`pagScale` cannot be used here: a Sprint model embeds its guidance', {
    hint: 'Leave `pagScale` out, or load a model that is not a Sprint one.',
  });
}

/** How much of the schedule an image to start from leaves to be done. */
function checkStrength(
  { image, maskImage, strength }: Partial<ReadRequest>,
  steps: number,
): Pick<CheckedRequest, 'strength' | 'firstStep'> {
  for (const [name, value] of Object.entries({ strength, maskImage })) {
    if (value === undefined || image !== undefined) continue;
    throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: there is no \`image\``, {
      hint: `Give the \`image\` to start from, or leave \`${name}\` out.`,
    });
  }
  if (image === undefined) return { strength: undefined, firstStep: 0 };
  const share = strength ?? (maskImage === undefined ? DEFAULT_STRENGTH : 1);
  if (typeof share !== 'number' || !(share > 0 && share <= 1)) {
    throw argumentError('strength', 'a number above 0 and up to 1', share);
  }
  // As the reference counts: any part of a step is a step.
  return { strength: share, firstStep: Math.trunc(steps - Math.min(steps * share, steps)) };
}

/** The two angles that a Sprint model's steps may start at. */
function checkTimesteps(given: Partial<ReadRequest>, steps: number, model: ModelTraits): ScmOptions {
  const { maxTimesteps, intermediateTimesteps } = given;
  for (const name of ['maxTimesteps', 'intermediateTimesteps'] as const) {
    if (given[name] === undefined || model.kind === 'sprint') continue;
    throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: only a Sprint model has it`, {
      hint: `Leave \`${name}\` out, or load a Sprint model.`,
    });
  }
  checkAngle('maxTimesteps', maxTimesteps, MAX_TIMESTEPS);
  if (intermediateTimesteps !== null) {
    checkAngle('intermediateTimesteps', intermediateTimesteps, maxTimesteps ?? MAX_TIMESTEPS);
    if (intermediateTimesteps !== undefined && steps !== 2) {
      const expected = `left out or null with ${steps} step(s): only two have it`;
      throw argumentError('intermediateTimesteps', expected, intermediateTimesteps);
    }
  }
  return { maxTimesteps, intermediateTimesteps };
}

function checkAngle(name: string, value: unknown, most: number): void {
  if (value === undefined || (typeof value === 'number' && value > 0 && value <= most)) return;
  throw argumentError(name, `an angle above 0 and up to ${most}`, value);
}

function checkPrompts(prompt: unknown): readonly string[] {
  if (typeof prompt === 'string') return [checkText('prompt', prompt)];
  if (!Array.isArray(prompt)) throw argumentError('prompt', 'a string or a list of strings', prompt);
  return checkList('prompt', prompt, 1, LIMITS.maxImages).map((text, i) => checkText(`prompt[${i}]`, text));
}

function checkNegativePrompts(negative: unknown, count: number, model: ModelTraits): readonly string[] {
  if (negative === undefined) return Array<string>(count).fill('');
  const texts =
    typeof negative === 'string'
      ? Array<string>(count).fill(checkText('negativePrompt', negative))
      : checkList('negativePrompt', negative, count, count).map((text, i) => checkText(`negativePrompt[${i}]`, text));
  if (model.kind === 'sprint' && texts.some((text) => text !== '')) {
    throw new SanaError('ERR_SANA_ARGUMENT', '`negativePrompt` cannot be used here: a Sprint model takes none', {
      hint: 'Leave `negativePrompt` out, or load a model that is not a Sprint one.',
    });
  }
  return texts;
}

type Size = Pick<CheckedRequest, 'width' | 'height' | 'drawnWidth' | 'drawnHeight' | 'useResolutionBinning'>;

function checkSize(given: Partial<ReadRequest>, model: ModelTraits): Size {
  const ofImage = given.image === undefined ? undefined : sizeOf(given.image, given.useResolutionBinning ?? model.bin);
  const { width = ofImage?.width ?? model.nativeSize, height = ofImage?.height ?? model.nativeSize } = given;
  const { useResolutionBinning = model.bin !== undefined } = given;
  checkBoolean('useResolutionBinning', useResolutionBinning);
  if (!useResolutionBinning) {
    checkMultiple('width', width, model);
    checkMultiple('height', height, model);
    return { width, height, drawnWidth: width, drawnHeight: height, useResolutionBinning };
  }
  if (model.bin === undefined) {
    throw new SanaError('ERR_SANA_ARGUMENT', '`useResolutionBinning` cannot be true: this model has no list of sizes', {
      hint: `Leave it out: the model draws any size that is a multiple of ${LATENT_SCALE}.`,
    });
  }
  checkInteger('width', width, LIMITS.minSize, LIMITS.maxSize);
  checkInteger('height', height, LIMITS.minSize, LIMITS.maxSize);
  const bin = model.bin({ width, height });
  return { width, height, drawnWidth: bin.width, drawnHeight: bin.height, useResolutionBinning };
}

/** The size to draw a picture anew at: its own, or the nearest that the model draws where it has no list of sizes. */
function sizeOf({ width, height }: RawImage, binned: unknown): { width: number; height: number } {
  const near = (side: number) => {
    const rounded = binned ? side : Math.round(side / LATENT_SCALE) * LATENT_SCALE;
    return Math.min(LIMITS.maxSize, Math.max(LIMITS.minSize, rounded));
  };
  return { width: near(width), height: near(height) };
}

function checkMultiple(name: string, value: unknown, model: ModelTraits): void {
  if (Number.isInteger(value) && (value as number) % LATENT_SCALE === 0) {
    if ((value as number) >= LIMITS.minSize && (value as number) <= LIMITS.maxSize) return;
  }
  const below = typeof value === 'number' ? Math.floor(value / LATENT_SCALE) * LATENT_SCALE : 0;
  const hints =
    below >= LIMITS.minSize && below < LIMITS.maxSize ? [`${below} or ${below + LATENT_SCALE} would do`] : [];
  if (model.bin !== undefined) hints.push('`useResolutionBinning: true` takes any size');
  const expected = `a multiple of ${LATENT_SCALE} from ${LIMITS.minSize} to ${LIMITS.maxSize}`;
  throw argumentError(name, expected, value, hints.length > 0 ? `${hints.join('; ')}.` : undefined);
}

function checkSeeds(seed: unknown, batch: number): readonly bigint[] {
  if (Array.isArray(seed)) {
    if (seed.length !== batch) throw argumentError('seed', `one seed, or a list of ${batch}: one per image`, seed);
    return Array.from(seed, (value, i) => checkSeed(`seed[${i}]`, value));
  }
  // The noise generator starts from the low 32 bits of a seed; a shorter number is easier to keep.
  const first = seed === undefined ? BigInt(randomInt(2 ** 32)) : checkSeed('seed', seed);
  if (first + BigInt(batch) - 1n > MAX_SEED) {
    throw argumentError('seed', `at most 2^64 - ${batch}, because the images count up from it`, first);
  }
  return Array.from({ length: batch }, (_, i) => first + BigInt(i));
}

function checkSeed(name: string, value: unknown): bigint {
  const expected = 'an integer from 0 to 2^64 - 1';
  if (typeof value === 'bigint') {
    if (value >= 0n && value <= MAX_SEED) return value;
  } else if (typeof value === 'number' && Number.isInteger(value) && value >= 0) {
    if (Number.isSafeInteger(value)) return BigInt(value);
    throw argumentError(
      name,
      `${expected}, as a bigint above 2^53 - 1`,
      value,
      'Write it as 123n: it is not exact so.',
    );
  }
  const random = value === -1 || value === -1n || value === null;
  throw argumentError(name, expected, value, random ? `Leave \`${name}\` out for a random one.` : undefined);
}

function checkLatents(latents: unknown, batch: number, size: Size, model: ModelTraits): TensorLike {
  const { drawnWidth, drawnHeight } = size;
  const shape = [batch, model.latentChannels, drawnHeight / LATENT_SCALE, drawnWidth / LATENT_SCALE];
  const expected = `a Float32Array with shape [${shape.join(', ')}]`;
  if (typeof latents !== 'object' || latents === null) throw argumentError('latents', expected, latents);
  const { data, shape: givenShape } = latents as Partial<TensorLike>;
  if (!(data instanceof Float32Array)) throw argumentError('latents.data', 'a Float32Array', data);
  if (!Array.isArray(givenShape)) throw argumentError('latents.shape', 'a list of sizes', givenShape);
  const elements = shape.reduce((product, n) => product * n, 1);
  const fits = givenShape.length === shape.length && shape.every((n, i) => givenShape[i] === n);
  if (!fits || data.length !== elements) {
    const drawn = `${drawnWidth} x ${drawnHeight} pixels`;
    const got = `${data.length} numbers with shape [${givenShape.slice(0, 8).join(', ')}]`;
    throw new SanaError('ERR_SANA_ARGUMENT', `Expected \`latents\` to be ${expected}, got ${got}`, {
      hint: `The model draws this request at ${drawn}, 32 pixels to a latent; the first dimension counts images.`,
    });
  }
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw argumentError(`latents.data[${bad}]`, 'a finite number', data[bad]);
  return { data: data.slice(), shape };
}

function checkInstruction(instruction: unknown): readonly string[] | undefined {
  if (instruction === undefined) return undefined;
  if (instruction === null) return [];
  const lines = checkList('complexHumanInstruction', instruction, 0, 1000);
  const texts = lines.map((line, i) => checkText(`complexHumanInstruction[${i}]`, line));
  checkText('complexHumanInstruction', texts.join('\n'));
  return texts;
}
