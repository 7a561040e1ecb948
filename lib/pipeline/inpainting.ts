/**
 * Drawing a part of a picture anew. After every step the rest of the latents is put back: the known picture, noised to
 * the level that the step has reached. In the end the rest of the pixels is put back, too, so that nothing outside the
 * mask changes.
 *
 * Source: Lugmayr et al., "RePaint" (2022), algorithm 1, without its jumps back.
 */

import type { RawImage } from '../request/types.ts';

/**
 * How much of each latent is drawn anew, [h * w], 0 to 1: the most of any pixel that it stands for. All of what is
 * masked is then really drawn, and nothing old is left in it.
 *
 * @param mask at the size drawn at: white is drawn anew, black is kept
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

/** Puts the known latents back where the mask is 0, in place; in between, a mixture. All [images, pixels, channels]. */
export function keepKnown(
  latents: Float32Array,
  known: Float32Array, // [pixels, channels]: of every image
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

/** The drawn picture where the mask is white, the known one where it is black, in between a mixture. All of one size. */
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
