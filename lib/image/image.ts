/** A generated image: its pixels, and how it was made. */

import { extname } from 'node:path';
import type { Sharp } from 'sharp';
import { argumentError, SanaError } from '../base/errors.ts';
import { checkEncodeOptions, FORMATS } from '../request/encode-options.ts';
import type { EncodedFormat } from '../request/encode-table.ts';
import { checkChoice } from '../request/fields.ts';
import type { EncodeOptions, GenerationParameters } from '../request/types.ts';
import { writeWholeFile } from './file.ts';
import { addPngMetadata, embeddedMetadata } from './metadata.ts';
import { loadSharp } from './sharp.ts';

export type { EncodedFormat, EncodeOptions };

const EXTENSIONS: Readonly<Record<string, EncodedFormat>> = {
  '.png': 'png',
  '.jpg': 'jpeg',
  '.jpeg': 'jpeg',
  '.webp': 'webp',
  '.avif': 'avif',
};

/**
 * A generated image.
 *
 * @example
 * const { images } = await pipe.generate('a red fox in snow');
 * await images[0].save('fox.png');
 */
export class SanaImage {
  readonly width: number;
  readonly height: number;
  /** RGB, row-major: [height, width, 3]. */
  readonly data: Uint8Array;
  /** Everything that is needed to make it again. */
  readonly parameters: GenerationParameters;

  constructor(
    pixels: { width: number; height: number; data: Uint8Array /* [height, width, 3] */ },
    parameters: GenerationParameters,
  ) {
    const { width, height, data } = pixels;
    if (data.length !== width * height * 3) throw argumentError('data.length', `${width * height * 3}`, data.length);
    this.width = width;
    this.height = height;
    this.data = data;
    this.parameters = parameters;
  }

  /** The format of a file name. Throws `ERR_SANA_FILE` for an unknown extension. */
  static formatOf(path: string): EncodedFormat {
    const extension = extname(path).toLowerCase();
    const format = Object.hasOwn(EXTENSIONS, extension) ? EXTENSIONS[extension] : undefined;
    if (format === undefined) {
      const found = extension === '' ? 'no extension' : `the extension '${extension}'`;
      throw new SanaError('ERR_SANA_FILE', `Cannot tell the image format: '${path}' has ${found}`, {
        hint: `Use one of ${Object.keys(EXTENSIONS).join(', ')}.`,
      });
    }
    return format;
  }

  /** The seed with which this image can be made on its own. */
  get seed(): bigint {
    return BigInt(this.parameters.seed);
  }

  /** The pixels as a sharp instance, for further processing. */
  toSharp(): Sharp {
    return loadSharp()(this.data, { raw: { width: this.width, height: this.height, channels: 3 } });
  }

  /**
   * The bytes of an image file. They record how the image was made: PNG files in two text chunks (`parameters`, for
   * viewers, and the exact `sana-native`), other formats in EXIF and XMP, which leave out prompts that are too long for
   * them.
   */
  async toBuffer(format: EncodedFormat = 'png', options: EncodeOptions = {}): Promise<Buffer> {
    checkChoice('format', format, FORMATS);
    const { quality, lossless, compressionLevel, metadata } = checkEncodeOptions(format, options);
    if (format === 'png') {
      const png = await this.toSharp().png({ compressionLevel }).toBuffer();
      return metadata ? addPngMetadata(png, this.parameters) : png;
    }
    let image = this.toSharp();
    if (format === 'jpeg') image = image.jpeg({ quality });
    else if (format === 'webp') image = image.webp({ quality, lossless });
    else image = image.avif({ quality, lossless });
    if (metadata) {
      const { exifComment, xmp } = embeddedMetadata(this.parameters, format);
      if (exifComment !== undefined) image = image.withExif({ IFD2: { UserComment: exifComment } });
      if (xmp !== undefined) image = image.withXmp(xmp);
    }
    return image.toBuffer();
  }

  /**
   * Writes an image file, completely or not at all. The extension determines the format; missing folders are created.
   * Rejects with `ERR_SANA_FILE`.
   */
  async save(path: string, options: EncodeOptions = {}): Promise<void> {
    if (typeof path !== 'string' || path === '') throw argumentError('path', 'the name of a file', path);
    await writeWholeFile(path, await this.toBuffer(SanaImage.formatOf(path), options));
  }

  /** The size, seed and parameters, without the pixels. */
  toJSON(): { width: number; height: number; seed: string; parameters: GenerationParameters } {
    return { width: this.width, height: this.height, seed: this.parameters.seed, parameters: this.parameters };
  }
}
