/** The pixels of a picture as a tensor for the autoencoder. */

import type { RawImage, TensorLike } from '../request/types.ts';

/** Pixels between turns of the event loop: about 3 ms. */
const PAUSE = 1 << 19;

/** byte / 127.5 - 1 in f32. */
const LEVELS = Float32Array.from({ length: 256 }, (_, byte) => Math.fround(byte / 127.5) - 1);

/** [height, width, 3] bytes as [1, 3, height, width] in [-1, 1]. */
export async function toTensor(picture: RawImage, signal?: AbortSignal): Promise<TensorLike> {
  const { width, height, data } = picture;
  const pixels = width * height;
  const planes = new Float32Array(3 * pixels);
  for (let start = 0; start < pixels; start += PAUSE) {
    if (start > 0) await new Promise<void>((resolve) => setImmediate(resolve));
    signal?.throwIfAborted();
    const end = Math.min(pixels, start + PAUSE);
    for (let c = 0; c < 3; c++) {
      // Both indices are in range: a picture has 3 bytes per pixel, and a byte is one of 256 levels.
      for (let i = start; i < end; i++) planes[c * pixels + i] = LEVELS[data[3 * i + c] as number] as number;
    }
  }
  return { data: planes, shape: [1, 3, height, width] };
}
