/** `--from image.png`: the request that made an image. */

import { type GenerateRequest, type ImageMetadata, type Lora, readGenerationMetadata, SanaError } from '../index.ts';
import { digestsIn, RECORD, requestOfRecord } from '../request/record.ts';

export interface Repeated {
  readonly made: ImageMetadata;
  readonly request: Partial<GenerateRequest>;
  /** Fields of the request that the record has only digests of. */
  readonly needs: readonly string[];
}

export async function readRequest(path: string): Promise<Repeated> {
  const made = await readGenerationMetadata(path);
  if (made === null) {
    throw new SanaError('ERR_SANA_FILE', `'${path}' has no record of how it was made`, {
      hint: 'Pass an image that sana-native saved, with its metadata.',
    });
  }
  return { made, request: requestOfRecord(made), needs: digestsIn(made) };
}

/** Differences in how an image was made that may make the same request give another picture. */
export function differences(made: ImageMetadata, now: ImageMetadata): string[] {
  const [before, after]: readonly Readonly<Record<string, unknown>>[] = [{ ...made }, { ...now }];
  const others = RECORD.flatMap(({ name, differs }) => {
    const [then, current] = [before?.[name], after?.[name]];
    if (differs === undefined || then === undefined || then === current) return [];
    return [`the ${differs} differs: ${then} then, ${current} now`];
  });
  return made.source === 'a1111' ? others : [...others, ...adapterDifferences(made.loras, now.loras)];
}

/** Adapters are compared by their files, because users choose the names. */
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
