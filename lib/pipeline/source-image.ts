/**
 * A request's pictures, read; and what a generation starts from, with the mask that says where it is drawn anew, made
 * to fit.
 */

import sharp, { type Sharp } from 'sharp';
import { readImage } from '../image/input.ts';
import { checkList } from './fields.ts';
import { resizeCropPlan, type Size } from './resolution.ts';
import type { GenerateRequest, ImageInput, RawImage } from './types.ts';

const PICTURES = ['image', 'maskImage', 'controlImage'] as const;
/** Of a list, one for each prompt: as many as there may be images. */
const MAX_PICTURES = 64;

/** A request whose pictures are pixels: what their files held when the request was made. */
export type ReadRequest = Omit<GenerateRequest, (typeof PICTURES)[number]> & {
  readonly image?: RawImage;
  readonly maskImage?: RawImage;
  readonly controlImage?: RawImage | readonly RawImage[];
};

/** A request with pictures that are still to be read. */
export function hasPictures(request: string | GenerateRequest): request is GenerateRequest {
  return typeof request === 'object' && request !== null && PICTURES.some((name) => request[name] !== undefined);
}

/** @throws SanaError ERR_SANA_FILE or ERR_SANA_ARGUMENT for a picture that cannot be read. */
export async function readPictures(request: GenerateRequest): Promise<ReadRequest> {
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
  for (const [i, image] of checkList(name, given, 1, MAX_PICTURES).entries()) {
    images.push(await readImage(image as ImageInput, `${name}[${i}]`));
  }
  return images;
}

/** A picture at another size: scaled until it covers it, and cut around the centre. */
export async function covering(picture: RawImage, { width, height }: Size): Promise<RawImage> {
  if (picture.width === width && picture.height === height) return picture;
  const resized = open(picture).resize(width, height, { fit: 'cover', kernel: 'lanczos3' });
  return { width, height, data: await rgb(resized) };
}

/**
 * A picture of the size asked for, at the size the model draws at, placed so that resizing and cropping the drawn
 * picture finds it where it was: the strip that will be cropped repeats the picture's edge.
 */
export async function atDrawnSize(picture: RawImage, drawn: Size): Promise<RawImage> {
  const { width, height } = picture;
  if (drawn.width === width && drawn.height === height) return picture;
  const { resizedWidth, resizedHeight, left, top } = resizeCropPlan(drawn.height, drawn.width, height, width);
  const extended = await rgb(
    open(picture).extend({
      left,
      top,
      right: resizedWidth - width - left,
      bottom: resizedHeight - height - top,
      extendWith: 'copy',
    }),
  );
  const strip = { width: resizedWidth, height: resizedHeight, data: extended };
  const resized = open(strip).resize(drawn.width, drawn.height, { fit: 'fill', kernel: 'lanczos3' });
  return { width: drawn.width, height: drawn.height, data: await rgb(resized) };
}

function open({ data, width, height }: RawImage) {
  return sharp(data, { raw: { width, height, channels: 3 } });
}

async function rgb(image: Sharp): Promise<Uint8Array> {
  return new Uint8Array(await image.removeAlpha().toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer());
}
