/** One picture of a batch: its latents decoded, resized and cropped, with the record of how it was made. */

import { SanaImage } from '../image/image.ts';
import type { DenoiseShape } from '../models/transformer.ts';
import { controlImageOf } from './control-pictures.ts';
import { composite } from './inpainting.ts';
import { sha256 } from './parameters.ts';
import type { Source } from './stages/pictures.ts';
import type { RunningJob } from './stages/stage.ts';

/** Image `index` of a batch of latents. */
export async function decodeImage(
  { parts, request, parameters }: RunningJob,
  latents: Float32Array, // [B, N, channels]
  index: number,
  { height, width }: DenoiseShape,
  source: Source | undefined,
): Promise<SanaImage> {
  const elements = height * width * parts.transformer.config.inChannels;
  const own = latents.subarray(index * elements, (index + 1) * elements);
  const options = { tiling: parts.tiling(request.decodeTiling), signal: request.signal };
  const data = await parts.autoencoder.decodeRgb(own, height, width, request, options);
  const prompt = Math.floor(index / request.numImagesPerPrompt);
  const { maskPicture, picture } = source ?? {};
  const controlImage = controlImageOf(request, index);
  const whole = maskPicture === undefined || picture === undefined ? data : composite(data, picture, maskPicture);
  return new SanaImage(
    { width: request.width, height: request.height, data: whole },
    {
      ...parameters,
      prompt: request.prompts[prompt] ?? '',
      negativePrompt: request.negativePrompts[prompt] ?? '',
      seed: String(request.seeds[index]),
      ...(controlImage !== undefined && { controlImageSha256: sha256(controlImage.data) }),
    },
  );
}
