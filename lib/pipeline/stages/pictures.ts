/** The second stage, for requests with pictures: from pictures to latents. */

import { SanaError } from '../../base/errors.ts';
import { resizeLanczos } from '../../image/lanczos.ts';
import type { Autoencoder } from '../../models/autoencoder.ts';
import { channelsLast, scaled } from '../../models/channel-order.ts';
import type { Control } from '../../models/controlnet.ts';
import type { CheckedRequest } from '../../request/request.ts';
import type { RawImage } from '../../request/types.ts';
import { latentMask } from '../inpainting.ts';
import type { Parts } from '../parts.ts';
import { toTensor } from '../picture-tensor.ts';
import { atDrawnSize, covering } from '../source-image.ts';
import type { Job, RunningJob, Stage, StageProgram } from './stage.ts';

/** The picture that a generation starts from. */
export interface Source {
  readonly latents: Float32Array; // [pixels, channels] in the transformer's scale
  readonly picture: RawImage; // of the requested size
  readonly mask?: Float32Array; // [pixels], 1: redrawn
  readonly maskPicture?: RawImage; // of the requested size
}

export class PicturesStage implements Stage {
  readonly name = 'pictures';
  readonly models = ['encoder'] as const;
  readonly largeArena = true;
  readonly leaves = { lastingBytes: 0, generationBytes: 0 };
  /** The results of `run`. */
  source: Source | undefined;
  control: Control | undefined;
  readonly #job: Job;

  constructor(job: Job) {
    this.#job = job;
  }

  programs(): readonly StageProgram[] {
    const { parts, request } = this.#job;
    const { image, control, drawnHeight: height, drawnWidth: width } = request;
    const program = parts.autoencoder.planEncode({ height, width });
    return [
      ...(image === undefined ? [] : [program]),
      ...(control === undefined
        ? []
        : [{ ...program, name: 'control_encode', runs: Math.max(1, control.images.length) }]),
    ];
  }

  async run({ parts, request }: RunningJob): Promise<void> {
    this.source = await encodeSource(parts, request);
    this.control = await encodeControl(parts, request);
  }

  release(): void {}
}

/** The picture to start from, encoded to latents, and its mask. */
async function encodeSource(
  { autoencoder }: Parts,
  { image, maskImage, signal, ...size }: CheckedRequest,
): Promise<Source | undefined> {
  if (image === undefined) return undefined;
  const drawn = { width: size.drawnWidth, height: size.drawnHeight };
  const picture = await covering(image, size, signal);
  const latents = await latentsOf(autoencoder, await atDrawnSize(picture, drawn, signal), signal);
  if (maskImage === undefined) return { latents, picture };
  const maskPicture = await covering(maskImage, size, signal);
  const mask = latentMask(await atDrawnSize(maskPicture, drawn, signal), autoencoder.compression);
  return { latents, picture, mask, maskPicture };
}

/** The control pictures, encoded to latents; stretched to the size that the model draws at, like the reference. */
async function encodeControl({ autoencoder }: Parts, request: CheckedRequest): Promise<Control | undefined> {
  const { control, numImagesPerPrompt, drawnWidth: width, drawnHeight: height, signal } = request;
  if (control === undefined) return undefined;
  const copies = control.images.length === 1 ? 1 : numImagesPerPrompt;
  const each: Float32Array[] = []; // [N, channels]
  for (const image of control.images) {
    const latents = await latentsOf(autoencoder, await resizeLanczos(image, { width, height }, signal), signal);
    for (let copy = 0; copy < copies; copy++) each.push(latents);
  }
  const latents = new Float32Array(each.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const one of each) {
    latents.set(one, offset);
    offset += one.length;
  }
  return { latents, scale: control.scale };
}

/** A picture's latents in the transformer's scale, [N, channels]. */
async function latentsOf(
  autoencoder: Autoencoder,
  picture: RawImage,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const z = await autoencoder.encode(await toTensor(picture, signal), { signal });
  const [, channels = 0, height = 0, width = 0] = z.shape;
  const latents = channelsLast(scaled(z.data, autoencoder.config.scalingFactor), 1, channels, height * width);
  if (latents.every(Number.isFinite)) return latents;
  throw new SanaError('ERR_SANA_NUMERICS', "The autoencoder's encoder produced NaN or infinite values for a picture", {
    hint: "The weights are damaged, or overflow in this dtype: try dtype 'float32' or download the autoencoder again.",
  });
}
