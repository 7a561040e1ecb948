/** What to tell a user whose path is not a checkpoint: what it looks like instead. */

import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { SanaError } from '../base/errors.ts';
import { modelError } from '../base/model-error.ts';

const LOOKED_FOR =
  'A checkpoint is a folder with model_index.json, transformer/, text_encoder/, tokenizer/, vae/ and scheduler/';

/** The error for `path`, which has no `model_index.json`. */
export async function notACheckpoint(path: string): Promise<SanaError> {
  const [reason, hint] = await look(path);
  return modelError(path, `${reason}. ${LOOKED_FOR}`, hint);
}

async function look(path: string): Promise<[reason: string, hint: string]> {
  const found = await stat(path).catch(() => null);
  if (found === null) {
    return /^[\w.-]+\/[\w.-]+$/.test(path)
      ? [
          'there is no such folder, and it looks like a Hugging Face repository id',
          `Download it with \`sana-native pull ${path}\`, and pass the folder that is printed.`,
        ]
      : ['there is no such folder', 'Check the path.'];
  }
  if (!found.isDirectory()) {
    if (path.endsWith('.safetensors')) {
      return ['is a single safetensors file', 'Pass the folder of the whole pipeline, in the diffusers layout.'];
    }
    if (/\.(pth|pt|bin|ckpt)$/.test(path)) return ['holds pickled weights, which are unsupported', DIFFUSERS_HINT];
    return ['is a file', 'Pass the folder of the whole pipeline.'];
  }

  const names = await readdir(path).catch((): string[] => []);
  if (basename(path).startsWith('models--') && names.includes('snapshots')) {
    const [revision] = await readdir(join(path, 'snapshots')).catch((): string[] => []);
    return [
      'is a repository of the hub cache',
      `Pass one of its snapshots: ${join(path, 'snapshots', revision ?? '<revision>')}.`,
    ];
  }
  if (names.some((name) => /\.(pth|pt|ckpt)$/.test(name)) || names.includes('checkpoints')) {
    return ['holds weights in the original layout (.pth)', DIFFUSERS_HINT];
  }
  if (names.includes('config.json')) return ['is one component of a pipeline', 'Pass the folder above it.'];
  if (names.length === 0) return ['is empty', 'Download the checkpoint into it.'];
  return ['there is no model_index.json in it', 'Pass the folder of the whole pipeline.'];
}

const DIFFUSERS_HINT =
  'Convert them with `sana-native convert`, or use the release of the same model whose name ends in _diffusers.';
