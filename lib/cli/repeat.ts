/** `--from image.png`: the request that made an image. */

import { type GenerateRequest, type ImageMetadata, type Lora, readGenerationMetadata, SanaError } from '../index.ts';
import { defined } from './flags.ts';

export interface Repeated {
  readonly made: ImageMetadata;
  readonly request: Partial<GenerateRequest>;
}

export async function readRequest(path: string): Promise<Repeated> {
  const made = await readGenerationMetadata(path);
  if (made === null) {
    throw new SanaError('ERR_SANA_FILE', `'${path}' has no record of how it was made`, {
      hint: 'Pass an image that sana-native saved, with its metadata.',
    });
  }
  return { made, request: toRequest(made) };
}

function toRequest(made: ImageMetadata): Partial<GenerateRequest> {
  return defined({
    prompt: made.prompt,
    negativePrompt: made.negativePrompt,
    width: made.width,
    height: made.height,
    numInferenceSteps: made.numInferenceSteps,
    guidanceScale: made.guidanceScale,
    scheduler: made.scheduler,
    pagScale: made.pagScale,
    strength: made.strength,
    maxTimesteps: made.maxTimesteps,
    intermediateTimesteps: made.intermediateTimesteps,
    seed: made.seed === undefined ? undefined : BigInt(made.seed),
    complexHumanInstruction: made.complexHumanInstruction,
    cleanCaption: made.cleanCaption,
    maxSequenceLength: made.maxSequenceLength,
    useResolutionBinning: made.useResolutionBinning,
    controlnetConditioningScale: made.controlnetConditioningScale,
    decodeTiling: made.decodeTiling,
    loraScale: made.loraScale,
  });
}

/** Differences in how an image was made, because of which the same request may not give the same picture. */
export function differences(made: ImageMetadata, now: ImageMetadata): string[] {
  const names = {
    modelFingerprint: 'model',
    dtype: 'dtype',
    devicePath: 'device',
    version: 'version',
    imageSha256: 'picture to start from',
    maskSha256: 'mask',
    controlImageSha256: 'control image',
  } as const;
  const others = Object.entries(names).flatMap(([field, name]) => {
    const [then, current] = [made[field as keyof typeof names], now[field as keyof typeof names]];
    return then === undefined || then === current ? [] : [`the ${name} differs: ${then} then, ${current} now`];
  });
  return made.source === 'a1111' ? others : [...others, ...adapterDifferences(made.loras, now.loras)];
}

/** Adapters are compared by their files: the name is the user's choice. */
function adapterDifferences(made: readonly Lora[] = [], now: readonly Lora[] = []): string[] {
  const left = [...now];
  const missing = made.flatMap(({ name, scale, sha256 }) => {
    const at = left.findIndex((lora) => lora.sha256 === sha256);
    const [same] = at < 0 ? [] : left.splice(at, 1);
    if (same === undefined) return [`the LoRA ${name} (SHA-256 ${sha256.slice(0, 10)}...), scale ${scale}, is missing`];
    return same.scale === scale ? [] : [`the scale of the LoRA ${name} differs: ${scale} then, ${same.scale} now`];
  });
  return [...missing, ...left.map(({ name }) => `the LoRA ${name} was not used then`)];
}
