/** A generated image: its pixels, and what it was made from. */

import sharp, { type Sharp } from 'sharp';
import type { GenerationParameters } from '../pipeline/types.ts';

/** A generated image. */
export class SanaImage {
  readonly width: number;
  readonly height: number;
  /** RGB, row-major: [height, width, 3]. */
  readonly data: Uint8Array;
  readonly parameters: GenerationParameters;

  constructor(
    pixels: { width: number; height: number; data: Uint8Array /* [height, width, 3] */ },
    parameters: GenerationParameters,
  ) {
    this.width = pixels.width;
    this.height = pixels.height;
    this.data = pixels.data;
    this.parameters = parameters;
  }

  /** The seed with which this image can be made alone. */
  get seed(): bigint {
    return BigInt(this.parameters.seed);
  }

  /** The pixels as a sharp instance, to go on with. */
  toSharp(): Sharp {
    return sharp(this.data, { raw: { width: this.width, height: this.height, channels: 3 } });
  }
}
