/**
 * Reading a request's pictures, and resizing the picture that a generation starts from and the mask of the part to
 * redraw.
 */

import { readImage } from '../image/input.ts';
import { resizeLanczos } from '../image/lanczos.ts';
import { resizeCropPlan, type Size } from '../models/resolution.ts';
import { checkList } from '../request/fields.ts';
import { LIMITS } from '../request/limits.ts';
import type { ImageInput, RawImage, ReadRequest } from '../request/types.ts';
import type { GenerateRequest, StepInfo } from './results.ts';

const PICTURES = ['image', 'maskImage', 'controlImage'] as const;

/** Whether a request has pictures, which must be read first. */
export function hasPictures(request: string | GenerateRequest): request is GenerateRequest {
  return typeof request === 'object' && request !== null && PICTURES.some((name) => request[name] !== undefined);
}

/** @throws SanaError ERR_SANA_FILE or ERR_SANA_ARGUMENT for a picture that cannot be read. */
export async function readPictures(request: GenerateRequest): Promise<ReadRequest<StepInfo>> {
  const { image, maskImage, controlImage, ...others } = request;
  return {
    ...others,
    ...(image !== undefined && { image: await readImage(image, 'image') }),
    ...(maskImage !== undefined && { maskImage: await readImage(maskImage, 'maskImage') }),
    ...(controlImage !== undefined && { controlImage: await readOneOrMore(controlImage, 'controlImage') }),
  };
}

async function readOneOrMore(
  given: ImageInput | readonly ImageInput[],
  name: string,
): Promise<RawImage | readonly RawImage[]> {
  if (!Array.isArray(given)) return await readImage(given as ImageInput, name);
  const images: RawImage[] = [];
  for (const [i, image] of checkList(name, given, 1, LIMITS.maxImages).entries()) {
    images.push(await readImage(image as ImageInput, `${name}[${i}]`));
  }
  return images;
}

/** A picture at another size: scaled to cover it, then cropped around the centre. */
export async function covering(picture: RawImage, { width, height }: Size, signal?: AbortSignal): Promise<RawImage> {
  if (picture.width === width && picture.height === height) return picture;
  const ratio = Math.max(width / picture.width, height / picture.height);
  const covered = {
    width: Math.max(width, Math.round(picture.width * ratio)),
    height: Math.max(height, Math.round(picture.height * ratio)),
  };
  const resized = await resizeLanczos(picture, covered, signal);
  return windowOf(
    resized,
    { width, height },
    Math.floor((covered.width - width) / 2),
    Math.floor((covered.height - height) / 2),
  );
}

/**
 * A picture of the requested size, converted to the size that the model draws at, so that resizing and cropping the
 * drawn picture puts everything back in its place. The margin that will be cropped repeats the picture's edge.
 */
export async function atDrawnSize(picture: RawImage, drawn: Size, signal?: AbortSignal): Promise<RawImage> {
  const { width, height } = picture;
  if (drawn.width === width && drawn.height === height) return picture;
  const { resizedWidth, resizedHeight, left, top } = resizeCropPlan(drawn.height, drawn.width, height, width);
  const strip = windowOf(picture, { width: resizedWidth, height: resizedHeight }, -left, -top);
  return await resizeLanczos(strip, drawn, signal);
}

/** The window of a picture whose first pixel is at `left`, `top`; beyond the picture, its edge is repeated. */
function windowOf(picture: RawImage, { width, height }: Size, left: number, top: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  const inside = (at: number, side: number) => Math.min(side - 1, Math.max(0, at));
  for (let y = 0; y < height; y++) {
    const row = inside(top + y, picture.height) * picture.width;
    for (let x = 0; x < width; x++) {
      const from = 3 * (row + inside(left + x, picture.width));
      data.set(picture.data.subarray(from, from + 3), 3 * (y * width + x));
    }
  }
  return { width, height, data };
}
