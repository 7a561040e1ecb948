/** Reading and writing latents as a safetensors file. */

import { dirname } from 'node:path';
import { SanaError } from '../base/errors.ts';
import { readTensors, writeSafetensors } from '../checkpoint/tensor-file.ts';
import { fileError, makeFolder } from '../image/file.ts';
import type { TensorLike } from '../request/types.ts';

const NAME = 'latents';

/** Reads the tensor `latents` of a safetensors file, or its only tensor. */
export async function readLatents(path: string): Promise<TensorLike> {
  const tensors = await readTensors(path);
  const found = tensors.get(NAME) ?? (tensors.size === 1 ? [...tensors.values()][0] : undefined);
  if (found === undefined || !(found.data instanceof Float32Array)) {
    const names = [...tensors.keys()].slice(0, 10).join(', ');
    throw new SanaError('ERR_SANA_FILE', `'${path}' contains no latents: its tensors are ${names || 'none'}`, {
      hint: `Pass a file with a single float tensor, or with one that is called '${NAME}'.`,
    });
  }
  return { data: found.data, shape: found.shape };
}

/** Writes latents to a safetensors file for `readLatents`, atomically; missing folders are created. */
export async function writeLatents(path: string, latents: TensorLike): Promise<void> {
  await makeFolder(dirname(path)).catch((cause: unknown) => {
    throw fileError(`Cannot write '${path}'`, cause);
  });
  await writeSafetensors(path, new Map([[NAME, latents]]));
}
