/** Converts latents between the callers' order, channels first, and the transformer's, channels last. */

import { channelsFirst, channelsLast } from '../models/channel-order.ts';
import type { DenoiseShape } from '../models/transformer.ts';
import type { TensorLike } from '../request/types.ts';

export function inLatentOrder({ images, height, width }: DenoiseShape, channels: number) {
  return {
    /** [B, channels, h, w] to [B, N, channels]. */
    channelsLast: ({ data }: TensorLike): Float32Array => channelsLast(data, images, channels, height * width),
    /** [B, N, channels] to [B, channels, h, w]. */
    channelsFirst: (latents: Float32Array): TensorLike => ({
      data: channelsFirst(latents, images, channels, height * width),
      shape: [images, channels, height, width],
    }),
  };
}
