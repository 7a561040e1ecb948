/** The record of how an image was made, in the image's file: written with the pixels, read without a model. */

import { SanaError } from '../base/errors.ts';
import { checkRecord } from '../request/record.ts';
import type { GenerationParameters } from '../request/types.ts';
import { readUserComment } from './exif.ts';
import { readWholeFile } from './file.ts';
import { sniffFormat } from './format.ts';
import { readParametersText, writeParametersText } from './parameters-text.ts';
import { insertPngText, readPngText } from './png-text.ts';
import { loadSharp } from './sharp.ts';

/** Keywords of the text form and of the exact form. */
const TEXT_KEYWORD = 'parameters';
const JSON_KEYWORD = 'sana-native';
const JSON_FORMAT = 1;

const XMP_NAMESPACE = 'urn:sana-native:parameters';
/** A JPEG segment has at most 65 533 bytes: longer texts are left out of EXIF and, in JPEG files, of XMP. */
const MAX_SEGMENT_BYTES = 60_000;
const MAX_FILE_BYTES = 512 * 1024 * 1024;

/**
 * What an image's file says about how it was made.
 *
 * `sana-native`: the exact record that this package writes, enough to make the image again. `a1111`: the text that
 * other programs also write, with only the fields that were understood.
 */
export type ImageMetadata =
  | ({ readonly source: 'sana-native' } & GenerationParameters)
  | ({ readonly source: 'a1111' } & Partial<GenerationParameters>);

/**
 * Reads how an image was made from its file (PNG, JPEG, WebP or AVIF); null if the file has no such record.
 *
 * @example
 * const made = await readGenerationMetadata('fox.png');
 * console.log(made?.prompt, made?.seed);
 */
export async function readGenerationMetadata(image: string | Uint8Array): Promise<ImageMetadata | null> {
  const path = typeof image === 'string' ? `'${image}'` : 'The buffer';
  const file = typeof image === 'string' ? await readWholeFile(image, MAX_FILE_BYTES) : image;
  const format = sniffFormat(file);
  if (format === null) {
    throw new SanaError('ERR_SANA_FILE', `${path} is not an image`, { hint: 'Pass a PNG, JPEG, WebP or AVIF file.' });
  }
  const { json, text } = format === 'png' ? pngRecords(file) : await embeddedRecords(file);
  const exact = json === null ? null : parseParametersJson(json);
  if (exact !== null) return { source: 'sana-native', ...exact };
  const read = text === null ? null : readParametersText(text);
  return read === null ? null : { source: 'a1111', ...read };
}

interface Records {
  readonly json: string | null;
  readonly text: string | null;
}

function pngRecords(png: Uint8Array): Records {
  const texts = readPngText(png, [JSON_KEYWORD, TEXT_KEYWORD]);
  return { json: texts.get(JSON_KEYWORD) ?? null, text: texts.get(TEXT_KEYWORD) ?? null };
}

async function embeddedRecords(file: Uint8Array): Promise<Records> {
  const { exif, xmp } = await loadSharp()(file)
    .metadata()
    .catch((cause: unknown) => {
      throw new SanaError('ERR_SANA_FILE', 'The image is damaged', { hint: 'Pass a whole image file.', cause });
    });
  const record = xmp === undefined ? null : /<sana:parameters>([^<]*)<\/sana:parameters>/.exec(xmp.toString('utf8'));
  return { json: record?.[1] ?? null, text: exif === undefined ? null : readUserComment(exif) };
}

/** A PNG file with the parameters added, as text and in exact form. */
export function addPngMetadata(png: Uint8Array, parameters: GenerationParameters): Buffer {
  return insertPngText(png, {
    [TEXT_KEYWORD]: writeParametersText(parameters),
    [JSON_KEYWORD]: writeParametersJson(parameters),
  });
}

/**
 * The parameters for formats whose metadata sharp writes: the text as EXIF user comment, the exact record as XMP.
 * Sharp's library writes EXIF in ASCII and replaces other characters with similar ones or '?'; XMP is exact.
 */
export function embeddedMetadata(
  parameters: GenerationParameters,
  format: 'jpeg' | 'webp' | 'avif',
): { exifComment?: string; xmp?: string } {
  const exifComment = writeParametersText(parameters);
  const xmp = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" xmlns:sana="${XMP_NAMESPACE}"><sana:parameters>${writeParametersJson(parameters)}</sana:parameters></rdf:Description></rdf:RDF></x:xmpmeta>`;
  return {
    ...(exifComment.length <= MAX_SEGMENT_BYTES && { exifComment }),
    ...((format !== 'jpeg' || Buffer.byteLength(xmp) <= MAX_SEGMENT_BYTES) && { xmp }),
  };
}

/** Characters that are special in XML can occur only inside strings, where JSON can write them as escapes. */
function writeParametersJson(parameters: GenerationParameters): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify({ format: JSON_FORMAT, ...parameters }).replaceAll(/[<>&\u007f-\u009f\ufffe\uffff]/g, escaped);
}

/** The record, if it is complete and this package could have written everything in it. */
function parseParametersJson(text: string): GenerationParameters | null {
  try {
    const record: unknown = JSON.parse(text);
    return isRecord(record) && record.format === JSON_FORMAT ? checkRecord(record) : null;
  } catch {
    return null; // not JSON, or a field is not what it should be
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
