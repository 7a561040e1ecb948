/**
 * The image size that a transformer was trained for, which determines its position embedding and its default picture
 * size.
 */

import { basename } from 'node:path';
import { modelError } from '../base/model-error.ts';

export const IMAGE_SIZES = [512, 1024, 2048, 4096] as const;
export type ImageSize = (typeof IMAGE_SIZES)[number];

/** Pixels of an image per pixel of its latents: DC-AE f32. */
export const LATENT_PIXELS = 32;

/** The `interpolation_scale` of the released models: those of 512 and 1024 pixels have no position embedding. */
export const INTERPOLATION_SCALES: Readonly<Record<ImageSize, number | null>> = {
  512: null,
  1024: null,
  2048: 1,
  4096: 2,
};

const HINT = `Pass it with --image-size ${IMAGE_SIZES.join('|')}.`;

/**
 * The given size, or the one that the file shows: by its `pos_embed` [1, N, D], which the official code keeps with one
 * row per token of the native size whether it is used or not, and by its name, `Sana_1600M_4Kpx.pth`.
 */
export function findImageSize(
  given: ImageSize | undefined,
  posEmbed: readonly number[] | undefined,
  patchSize: number,
  path: string,
): ImageSize {
  if (given !== undefined) return given;
  const side = Math.sqrt(posEmbed?.length === 3 ? (posEmbed[1] ?? 0) : 0) * patchSize * LATENT_PIXELS;
  const shown = IMAGE_SIZES.find((size) => size === side);
  const name = /(512|1024|2K|4K)px/i.exec(basename(path))?.[1]?.toUpperCase();
  const named = name === undefined ? undefined : IMAGE_SIZES[['512', '1024', '2K', '4K'].indexOf(name)];
  const size = named ?? shown;
  if (size === undefined) {
    throw modelError(path, 'neither its tensors nor its name show which image size it was trained for', HINT);
  }
  if (shown !== undefined && shown !== size) {
    throw modelError(
      path,
      `its pos_embed [${posEmbed?.join(', ')}] is that of ${shown} pixels, its name that of ${size}`,
      HINT,
    );
  }
  return size;
}
