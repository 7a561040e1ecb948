/** Where the results of `generate` go: checked before the work, and named after it. */

import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname, extname, resolve } from 'node:path';
import { SanaError, SanaImage } from '../index.ts';
import { usageError } from './output.ts';

/** `-`: standard output. undefined: `sana-SEED.png` in the current folder. */
export type Destination = string | undefined;

export async function checkDestination(
  destination: Destination,
  images: number,
  outputType: 'image' | 'latent',
  json: boolean,
): Promise<void> {
  if (destination === '-') {
    if (json)
      throw usageError(
        '`-o -` and `--json` cannot be combined: both write to standard output',
        'Leave one of them out.',
      );
    if (outputType === 'latent')
      throw usageError('Latents cannot be written to standard output', 'Pass -o NAME.safetensors.');
    if (images > 1) throw usageError(`Standard output takes one image, not ${images}`, 'Pass -o NAME.png.');
    if (process.stdout.isTTY)
      throw usageError('An image cannot be written to a terminal', 'Redirect it: -o - > fox.png.');
    return;
  }
  if (outputType === 'latent') {
    if (destination === undefined || extname(destination) !== '.safetensors') {
      throw usageError('Latents must be written to a .safetensors file', 'Pass -o NAME.safetensors.');
    }
  } else if (destination !== undefined) {
    try {
      SanaImage.formatOf(destination);
    } catch (error) {
      throw error instanceof SanaError ? usageError(error.message, error.hint) : error;
    }
  }
  await checkFolder(destination ?? '.');
}

/** Finds out at once, and not after minutes of work, that a file cannot be written. */
async function checkFolder(file: string): Promise<void> {
  const path = resolve(file);
  const there = await stat(path).catch(() => undefined);
  if (file !== '.' && there?.isDirectory()) {
    throw new SanaError('ERR_SANA_FILE', `Cannot write '${file}': it is a folder`, {
      hint: 'Choose another name.',
    });
  }
  let folder = file === '.' ? path : dirname(path);
  // Missing folders will be created in the nearest one that exists.
  while ((await stat(folder).catch(() => undefined)) === undefined && dirname(folder) !== folder) {
    folder = dirname(folder);
  }
  const usable = (await stat(folder)).isDirectory();
  await access(folder, constants.W_OK).catch((cause) => {
    throw new SanaError('ERR_SANA_FILE', `Cannot write '${file}': '${folder}' is read-only`, {
      hint: 'Choose a folder that you may write to.',
      cause,
    });
  });
  if (!usable) {
    throw new SanaError('ERR_SANA_FILE', `Cannot write '${file}': '${folder}' is a file, not a folder`, {
      hint: 'Choose another folder.',
    });
  }
}

/** The name of each image: the given one, with -0, -1, ... before the extension if there are several. */
export function imagePaths(destination: Destination, images: readonly SanaImage[]): string[] {
  const path = destination ?? `sana-${images[0]?.seed}.png`;
  if (images.length === 1) return [path];
  const extension = extname(path);
  const stem = path.slice(0, path.length - extension.length);
  return images.map((_, i) => `${stem}-${i}${extension}`);
}
