/** The options of `SanaImage.save` and `toBuffer`, as rows: see request-table.ts. */

import { always, type Field, unset } from './field.ts';
import { boolean, integer } from './value-types.ts';

export type EncodedFormat = 'png' | 'jpeg' | 'webp' | 'avif';

export interface EncodeField extends Field {
  /** The formats that it applies to. */
  readonly formats: readonly EncodedFormat[];
  /** Why the other formats reject it. */
  readonly why: string;
}

export const DEFAULT_QUALITY: Readonly<Record<EncodedFormat, number>> = { png: 100, jpeg: 90, webp: 90, avif: 60 };

export const ENCODE = {
  quality: {
    type: integer(1, 100),
    default: unset(`JPEG and WebP ${DEFAULT_QUALITY.jpeg}, AVIF ${DEFAULT_QUALITY.avif}`),
    summary: 'quality of the compression; a higher one makes a larger file',
    group: 'Output',
    formats: ['jpeg', 'webp', 'avif'],
    why: 'has no quality',
  },
  lossless: {
    type: boolean,
    default: always(false),
    summary: 'keep every pixel as it is',
    group: 'Output',
    formats: ['webp', 'avif'],
    why: 'has only one of the two modes',
  },
  compressionLevel: {
    type: integer(0, 9),
    default: always(6),
    summary: '0 is fast, 9 makes small files',
    group: 'Output',
    formats: ['png'],
    why: 'has no compression level',
  },
  metadata: {
    type: boolean,
    default: always(true),
    summary: 'record in the file how the image was made',
    see: '`--no-metadata` leaves it out.',
    group: 'Output',
    formats: ['png', 'jpeg', 'webp', 'avif'],
    why: '',
  },
} as const satisfies Readonly<Record<string, EncodeField>>;
