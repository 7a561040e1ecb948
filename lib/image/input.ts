/** A picture passed by a caller, in any of the forms of `ImageInput`, as plain RGB. */

import type { Sharp } from 'sharp';
import { argumentError, SanaError } from '../base/errors.ts';
import type { ImageInput, RawImage } from '../request/types.ts';
import { readWholeFile } from './file.ts';
import { sniffFormat } from './format.ts';
import { SanaImage } from './image.ts';
import { loadSharp } from './sharp.ts';

const MAX_FILE_BYTES = 512 * 1024 * 1024;
/** The most pixels that a picture may have: twice those of the largest picture that can be drawn. */
const MAX_PIXELS = 2 * 8192 * 8192;
const MAX_SIDE = 65_535;

/**
 * The pixels of a picture: upright by its EXIF orientation, transparent parts on white, in sRGB, eight bits, the first
 * frame if there are several. `name` is the argument that errors name.
 */
export async function readImage(input: ImageInput, name = 'image'): Promise<RawImage> {
  if (typeof input === 'string') return decodeFile(await readWholeFile(input, MAX_FILE_BYTES), `'${input}'`);
  if (input instanceof Uint8Array) return decodeFile(input, `\`${name}\``);
  if (input instanceof SanaImage) return { width: input.width, height: input.height, data: input.data };
  if (isSharp(input)) return decode(input.clone(), `\`${name}\``);
  return checkRaw(input, name);
}

function isSharp(input: unknown): input is Sharp {
  // Not instanceof: a caller may have another copy of sharp.
  return typeof input === 'object' && input !== null && 'clone' in input && 'metadata' in input && 'toBuffer' in input;
}

function checkRaw(input: RawImage, name: string): RawImage {
  const expected = 'a path, an encoded Buffer, a SanaImage, { width, height, data } or a sharp instance';
  if (typeof input !== 'object' || input === null || !('data' in input)) throw argumentError(name, expected, input);
  const { width, height, data } = input;
  for (const [side, value] of Object.entries({ width, height })) {
    if (!Number.isInteger(value) || value < 1 || value > MAX_SIDE) {
      throw argumentError(`${name}.${side}`, `an integer from 1 to ${MAX_SIDE}`, value);
    }
  }
  if (width * height > MAX_PIXELS) throw argumentError(name, `at most ${MAX_PIXELS} pixels`, width * height);
  if (!(data instanceof Uint8Array)) throw argumentError(`${name}.data`, 'a Uint8Array', data);
  if (data.length !== width * height * 3) {
    const bytes = width * height * 3;
    throw argumentError(`${name}.data.length`, `width x height x 3, ${bytes}`, data.length, 'Pass RGB without alpha.');
  }
  return { width, height, data };
}

async function decodeFile(file: Uint8Array, what: string): Promise<RawImage> {
  if (sniffFormat(file) === null) {
    throw new SanaError('ERR_SANA_FILE', `${what} is not an image that can be read`, {
      hint: 'Pass a PNG, JPEG, WebP, AVIF, GIF or TIFF file.',
    });
  }
  return decode(loadSharp()(file, { limitInputPixels: MAX_PIXELS }).autoOrient(), what);
}

async function decode(image: Sharp, what: string): Promise<RawImage> {
  try {
    const { data, info } = await image
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: toRgb(data, info.channels) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SanaError('ERR_SANA_FILE', `${what} cannot be decoded: ${reason}`, {
      hint: `Pass a complete image of at most ${MAX_PIXELS} pixels.`,
      cause,
    });
  }
}

/** Pixels of any number of channels as RGB: one channel is grey, a fourth is ignored. */
function toRgb(data: Uint8Array, channels: number): Uint8Array {
  if (channels === 3) return data;
  const pixels = data.length / channels;
  const rgb = new Uint8Array(pixels * 3);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) rgb[i * 3 + c] = data[i * channels + (channels < 3 ? 0 : c)] ?? 0;
  }
  return rgb;
}
