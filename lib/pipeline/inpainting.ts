/**
 * Inpainting: redrawing a part of a picture. After every step, the latents outside the mask are replaced by the known
 * picture's, noised to the level that the step has reached. At the end, the pixels outside the mask are also replaced,
 * so that nothing there changes.
 *
 * Source: Lugmayr et al., "RePaint" (2022), algorithm 1, without its jumps back.
 */

import type { RawImage } from '../request/types.ts';

/**
 * How much of each latent is redrawn, [h * w], 0 to 1: the maximum over the pixels that it represents. So everything in
 * the mask is redrawn, and nothing of the old picture is left there.
 *
 * @param mask at the size that the model draws at: white is redrawn, black is kept
 */
export function latentMask({ width, height, data }: RawImage, compression: number): Float32Array {
  const columns = width / compression;
  const mask = new Float32Array((height / compression) * columns);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = Math.floor(y / compression) * columns + Math.floor(x / compression);
      mask[at] = Math.max(mask[at] ?? 0, maskAt(data, y * width + x));
    }
  }
  return mask;
}

/** Restores the known latents where the mask is 0, a mixture between 0 and 1, in place. [images, pixels, channels] */
export function keepKnown(
  latents: Float32Array,
  known: Float32Array, // [pixels, channels], the same for every image
  noise: Float32Array,
  mask: Float32Array, // [pixels]
  mix: { readonly clean: number; readonly noise: number },
): void {
  const channels = known.length / mask.length;
  for (let i = 0; i < latents.length; i++) {
    const within = i % known.length;
    const drawn = mask[Math.floor(within / channels)] ?? 0;
    if (drawn === 1) continue;
    const kept = mix.clean * (known[within] ?? 0) + mix.noise * (noise[i] ?? 0);
    latents[i] = drawn * (latents[i] ?? 0) + (1 - drawn) * kept;
  }
}

/** The drawn picture where the mask is white, the known one where it is black, a mixture in between. Same sizes. */
export function composite(drawn: Uint8Array, known: RawImage, mask: RawImage): Uint8Array {
  return drawn.map((byte, i) => {
    const part = maskAt(mask.data, Math.floor(i / 3));
    return Math.round(part * byte + (1 - part) * (known.data[i] ?? 0));
  });
}

/** The mask at a pixel, 0 to 1: the mean of its three channels. */
function maskAt(data: Uint8Array, pixel: number): number {
  const i = 3 * pixel;
  return ((data[i] ?? 0) + (data[i + 1] ?? 0) + (data[i + 2] ?? 0)) / 765;
}
