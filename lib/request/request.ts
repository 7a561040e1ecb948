/** A request to `SanaPipeline.generate`: checked completely before any work, with its defaults filled in. */

import { randomInt } from 'node:crypto';
import { argumentError, SanaError } from '../base/errors.ts';
import { customSteps, MAX_TIMESTEPS } from '../schedulers/index.ts';
import { checkFields } from './check.ts';
import { type ControlRequest, checkControl } from './control-image.ts';
import type { Checked } from './field.ts';
import { checkBoolean, checkInteger, checkKeys, checkList } from './fields.ts';
import { LIMITS, MAX_SEED } from './limits.ts';
import type { ModelTraits } from './model-traits.ts';
import { DEFAULT_STRENGTH, REQUEST } from './request-table.ts';
import type { RawImage, ReadRequest, RequestFields, TensorLike } from './types.ts';

/** The fields as their rows give them. */
type Fields = Checked<typeof REQUEST>;

/** A checked request for B images: image i belongs to prompt `floor(i / numImagesPerPrompt)`. */
export interface CheckedRequest<Step = never>
  extends Omit<
    Fields,
    | 'prompt'
    | 'negativePrompt'
    | 'seed'
    | 'controlImage'
    | 'controlnetConditioningScale'
    | 'width'
    | 'height'
    | 'onStep'
  > {
  readonly prompts: readonly string[]; // [P]
  readonly negativePrompts: readonly string[]; // [P]
  /** The requested size. */
  readonly width: number;
  readonly height: number;
  /** The size that the model draws at: multiples of its compression. */
  readonly drawnWidth: number;
  readonly drawnHeight: number;
  /** Whether the model also runs without the prompt: only with guidance, and not if the model embeds its scale. */
  readonly guided: boolean;
  /** The first step that is run: 0 without `image`. */
  readonly firstStep: number;
  readonly batch: number; // B = P x numImagesPerPrompt
  readonly seeds: readonly bigint[]; // [B]
  /** Only for models with a ControlNet. */
  readonly control: ControlRequest | undefined;
  readonly onStep: NonNullable<RequestFields<Step>['onStep']> | undefined;
}

/**
 * Checks a request against a model. Throws `ERR_SANA_ARGUMENT`, naming the first invalid field. `planned`: nothing will
 * be drawn, so a picture that drawing needs may be missing.
 */
export function checkRequest<Step = never>(
  request: string | ReadRequest<Step>,
  model: ModelTraits,
  planned = false,
): CheckedRequest<Step> {
  const given: Partial<ReadRequest<Step>> = typeof request === 'string' ? { prompt: request } : request;
  checkKeys('request', given, Object.keys(REQUEST), {});
  if (given.prompt === undefined) throw argumentError('prompt', REQUEST.prompt.type.expected, undefined);
  const fields = checkFields(REQUEST, given, model);
  const { prompt = '', negativePrompt = '', seed, controlImage, controlnetConditioningScale, ...others } = fields;
  const { guidanceScale, latents, image } = fields;

  const prompts = typeof prompt === 'string' ? [prompt] : prompt;
  const batch = prompts.length * fields.numImagesPerPrompt;
  if (batch > LIMITS.maxImages) {
    const most = Math.floor(LIMITS.maxImages / prompts.length);
    const expected = `at most ${most} with ${prompts.length} prompts`;
    const hint = `A call draws at most ${LIMITS.maxImages} images.`;
    throw argumentError('numImagesPerPrompt', expected, fields.numImagesPerPrompt, hint);
  }
  const numInferenceSteps = checkSteps(fields, given.numInferenceSteps);
  const size = checkSize(given, model);
  checkTimesteps(fields, numInferenceSteps);
  return {
    ...others,
    prompts,
    negativePrompts: eachOf(negativePrompt, prompts.length),
    ...size,
    numInferenceSteps,
    ...checkStrength(fields, numInferenceSteps),
    image,
    guided: model.kind !== 'sprint' && guidanceScale > 1,
    batch,
    seeds: checkSeeds(seed, batch),
    latents: latents === undefined ? undefined : checkLatents(latents, batch, size, model),
    control: checkControl(controlImage, controlnetConditioningScale, prompts.length, model, planned),
    onStep: given.onStep,
  };
}

/** The share of the schedule that is run when starting from an image. */
function checkStrength(
  { image, maskImage, strength }: Pick<Fields, 'image' | 'maskImage' | 'strength'>,
  steps: number,
): Pick<CheckedRequest, 'strength' | 'firstStep'> {
  for (const [name, value] of Object.entries({ strength, maskImage })) {
    if (value === undefined || image !== undefined) continue;
    throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: there is no \`image\``, {
      hint: `Pass an \`image\` to start from, or leave \`${name}\` out.`,
    });
  }
  if (image === undefined) return { strength: undefined, firstStep: 0 };
  const share = strength ?? (maskImage === undefined ? DEFAULT_STRENGTH : 1);
  // Like the reference, a fraction of a step counts as a whole one.
  return { strength: share, firstStep: Math.trunc(steps - Math.min(steps * share, steps)) };
}

/** The number of steps: that of a custom schedule, if there is one. */
function checkSteps(fields: Fields, given: number | undefined): number {
  const listed = customSteps(fields.scheduler, fields);
  if (listed === undefined) return fields.numInferenceSteps;
  if (given === undefined || given === listed) return listed;
  const name = fields.timesteps === undefined ? 'sigmas' : 'timesteps';
  const expected = `${listed}, as many steps as \`${name}\` has`;
  throw argumentError('numInferenceSteps', expected, given, `Leave it out, or change \`${name}\`.`);
}

/** The two angles that a Sprint model's steps may start at. */
function checkTimesteps(
  { maxTimesteps, intermediateTimesteps }: Pick<Fields, 'maxTimesteps' | 'intermediateTimesteps'>,
  steps: number,
): void {
  if (typeof intermediateTimesteps !== 'number') return;
  const most = maxTimesteps ?? MAX_TIMESTEPS;
  if (intermediateTimesteps > most) {
    throw argumentError('intermediateTimesteps', `an angle above 0 and up to ${most}`, intermediateTimesteps);
  }
  if (steps !== 2) {
    const expected = `left out or null with ${steps} step(s), because it needs two`;
    const hint = 'Leave `intermediateTimesteps` out, or use 2 steps.';
    throw argumentError('intermediateTimesteps', expected, intermediateTimesteps, hint);
  }
}

/** One text for each prompt. */
function eachOf(texts: string | readonly string[], count: number): readonly string[] {
  if (typeof texts === 'string') return Array<string>(count).fill(texts);
  checkList('negativePrompt', texts, count, count);
  return texts;
}

type Size = Pick<CheckedRequest, 'width' | 'height' | 'drawnWidth' | 'drawnHeight' | 'useResolutionBinning'>;

function checkSize(given: Partial<ReadRequest>, model: ModelTraits): Size {
  const ofImage = given.image === undefined ? undefined : sizeOf(given.image, model, given.useResolutionBinning);
  const { width = ofImage?.width ?? model.nativeSize, height = ofImage?.height ?? model.nativeSize } = given;
  const { useResolutionBinning = model.bin !== undefined } = given;
  checkBoolean('useResolutionBinning', useResolutionBinning);
  if (!useResolutionBinning) {
    checkMultiple('width', width, model);
    checkMultiple('height', height, model);
    return { width, height, drawnWidth: width, drawnHeight: height, useResolutionBinning };
  }
  if (model.bin === undefined) {
    throw new SanaError(
      'ERR_SANA_ARGUMENT',
      '`useResolutionBinning` cannot be true: this model was not trained on a list of sizes',
      {
        hint: `Leave it out: the model draws any size that is a multiple of ${model.compression}.`,
      },
    );
  }
  checkInteger('width', width, LIMITS.minSize, LIMITS.maxSize);
  checkInteger('height', height, LIMITS.minSize, LIMITS.maxSize);
  const bin = model.bin({ width, height });
  return { width, height, drawnWidth: bin.width, drawnHeight: bin.height, useResolutionBinning };
}

/** The size for image to image: the picture's own; without a list of sizes, the nearest that the model can draw. */
function sizeOf(
  { width, height }: RawImage,
  model: ModelTraits,
  binned: unknown = model.bin,
): { width: number; height: number } {
  const near = (side: number) => {
    const rounded = binned ? side : Math.round(side / model.compression) * model.compression;
    return Math.min(LIMITS.maxSize, Math.max(LIMITS.minSize, rounded));
  };
  return { width: near(width), height: near(height) };
}

function checkMultiple(name: string, value: unknown, model: ModelTraits): void {
  if (Number.isInteger(value) && (value as number) % model.compression === 0) {
    if ((value as number) >= LIMITS.minSize && (value as number) <= LIMITS.maxSize) return;
  }
  const below = typeof value === 'number' ? Math.floor(value / model.compression) * model.compression : 0;
  const hints =
    below >= LIMITS.minSize && below < LIMITS.maxSize ? [`Use ${below} or ${below + model.compression}`] : [];
  if (model.bin !== undefined) hints.push('`useResolutionBinning: true` allows any size');
  const expected = `a multiple of ${model.compression} from ${LIMITS.minSize} to ${LIMITS.maxSize}`;
  throw argumentError(name, expected, value, hints.length > 0 ? `${hints.join('; ')}.` : undefined);
}

function checkSeeds(seed: bigint | readonly bigint[] | undefined, batch: number): readonly bigint[] {
  if (typeof seed === 'object') {
    if (seed.length !== batch) throw argumentError('seed', `one seed, or a list of ${batch}: one per image`, seed);
    return seed;
  }
  // The noise depends only on the low 32 bits of a seed, and a short number is easier to note down.
  const first = seed ?? BigInt(randomInt(2 ** 32));
  if (first + BigInt(batch) - 1n > MAX_SEED) {
    throw argumentError('seed', `at most 2^64 - ${batch}, because image i has the seed plus i`, first);
  }
  return Array.from({ length: batch }, (_, i) => first + BigInt(i));
}

function checkLatents(latents: unknown, batch: number, size: Size, model: ModelTraits): TensorLike {
  const { drawnWidth, drawnHeight } = size;
  const shape = [batch, model.latentChannels, drawnHeight / model.compression, drawnWidth / model.compression];
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
      hint: `This request is drawn at ${drawn}, with ${model.compression} pixels per latent; the first dimension is the number of images.`,
    });
  }
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) throw argumentError(`latents.data[${bad}]`, 'a finite number', data[bad]);
  return { data: data.slice(), shape };
}
