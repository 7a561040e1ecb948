/** What an image was made from, in its file: written beside the pixels, read back without a model. */

import { SanaError } from '../base/errors.ts';
import { checkRecord } from '../request/record.ts';
import type { GenerationParameters } from '../request/types.ts';
import { readUserComment } from './exif.ts';
import { readWholeFile } from './file.ts';
import { sniffFormat } from './format.ts';
import { readParametersText, writeParametersText } from './parameters-text.ts';
import { insertPngText, readPngText } from './png-text.ts';
import { loadSharp } from './sharp.ts';

/** Keyword of the text form, and of the exact one. */
const TEXT_KEYWORD = 'parameters';
const JSON_KEYWORD = 'sana-native';
const JSON_FORMAT = 1;

const XMP_NAMESPACE = 'urn:sana-native:parameters';
/** A JPEG segment holds 65 533 bytes: longer texts are left out of EXIF and, in JPEG files, of XMP. */
const MAX_SEGMENT_BYTES = 60_000;
const MAX_FILE_BYTES = 512 * 1024 * 1024;

/**
 * What the file of an image says about its making.
 *
 * `sana-native`: the exact record that this package writes, enough to make the image again. `a1111`: the text that
 * other programs write too, of which only what was understood is there.
 */
export type ImageMetadata =
  | ({ readonly source: 'sana-native' } & GenerationParameters)
  | ({ readonly source: 'a1111' } & Partial<GenerationParameters>);

/**
 * Reads what an image was made from out of its file (PNG, JPEG, WebP or AVIF), or null when it does not say.
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

/** A PNG file with the parameters in it, as text and exact. */
export function addPngMetadata(png: Uint8Array, parameters: GenerationParameters): Buffer {
  return insertPngText(png, {
    [TEXT_KEYWORD]: writeParametersText(parameters),
    [JSON_KEYWORD]: writeParametersJson(parameters),
  });
}

/**
 * The parameters for formats that sharp writes metadata into: the text as EXIF user comment, the exact record as XMP.
 * EXIF is written in ASCII by sharp's library, which puts look-alikes or '?' for other characters; XMP is exact.
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

/** Characters that mean something to XML stand in strings only, where JSON has another spelling for them. */
function writeParametersJson(parameters: GenerationParameters): string {
  const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return JSON.stringify({ format: JSON_FORMAT, ...parameters }).replaceAll(/[<>&\u007f-\u009f\ufffe\uffff]/g, escaped);
}

/** The record, when it is whole and everything in it could have been written by this package. */
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
