/** What an image is made from, to be kept with it. */

import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import { publicDtype } from '../base/dtypes.ts';
import { version } from '../base/package.ts';
import { repositoryOfSnapshot } from '../hub/repository.ts';
import type { CheckedRequest } from '../request/request.ts';
import type { GenerationParameters } from '../request/types.ts';
import type { Parts } from './parts.ts';

/** What all images of a call have in common. */
export type CommonParameters = Omit<GenerationParameters, 'prompt' | 'negativePrompt' | 'seed'>;

/** Enough, with prompts and seed, to make the images of a call again. */
export function commonParameters(
  { checkpoint, transformer, engine, dtype }: Parts,
  request: CheckedRequest,
  modelFingerprint: string,
): CommonParameters {
  const { complexHumanInstruction: instruction, latents, strength, image, maskImage } = request;
  const { control, loraScale = 1 } = request;
  const { maxTimesteps, intermediateTimesteps } = request.timesteps;
  const loras = transformer.adapters;
  return {
    width: request.width,
    height: request.height,
    numInferenceSteps: request.numInferenceSteps,
    guidanceScale: request.guidanceScale,
    scheduler: request.scheduler,
    ...(instruction !== undefined && { complexHumanInstruction: instruction.length === 0 ? null : instruction }),
    cleanCaption: request.cleanCaption,
    maxSequenceLength: request.maxSequenceLength,
    useResolutionBinning: request.useResolutionBinning,
    ...(request.decodeTiling !== 'auto' && { decodeTiling: request.decodeTiling }),
    ...(maxTimesteps !== undefined && { maxTimesteps }),
    ...(intermediateTimesteps !== undefined && { intermediateTimesteps }),
    ...(request.pagScale > 0 && { pagScale: request.pagScale }),
    ...(strength !== undefined && { strength }),
    ...(image !== undefined && { imageSha256: sha256(image.data) }),
    ...(maskImage !== undefined && { maskSha256: sha256(maskImage.data) }),
    ...(latents !== undefined && { latentsSha256: sha256(latents.data) }),
    ...(control !== undefined && { controlnetConditioningScale: control.scale }),
    ...(loras.length > 0 && { loras }),
    ...(loraScale !== 1 && { loraScale }),
    model: nameOf(checkpoint),
    modelFingerprint,
    dtype: publicDtype(dtype),
    devicePath: engine.device.info.path,
    version,
  };
}

/** The repository's or the folder's name, never a path. */
export function nameOf({ folder }: { readonly folder: string }): string {
  const path = resolve(folder);
  return repositoryOfSnapshot(path) ?? basename(path);
}

export function sha256(data: NodeJS.ArrayBufferView): string {
  return createHash('sha256').update(data).digest('hex');
}
