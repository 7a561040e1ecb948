/**
 * Text chunks of PNG files: `tEXt` (Latin-1), `zTXt` (the same, deflated) and `iTXt` (UTF-8). sharp writes none of
 * them.
 *
 * A chunk is its length (u32, big-endian), a type of four letters, the data, and a CRC-32 of type and data. A file is
 * the signature, `IHDR`, other chunks, the pixels as `IDAT`s, and `IEND`.
 */

import { crc32, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const HEADER_END = SIGNATURE.length + 12 + 13; // after IHDR, 13 bytes of data

/** The longest text that is read, inflated or not, so that hostile files cost nothing. */
export const MAX_TEXT_BYTES = 1 << 20;
const MAX_KEYWORD_BYTES = 79;
/** How many text chunks of the wanted keywords are examined. */
const MAX_TEXT_CHUNKS = 16;

export function isPng(file: Uint8Array): boolean {
  return file.length >= SIGNATURE.length && SIGNATURE.equals(file.subarray(0, SIGNATURE.length));
}

/**
 * The file with texts added after its header, so that readers that stop at the pixels find them. Latin-1 texts become
 * `tEXt`, which every reader knows, others `iTXt`.
 */
export function insertPngText(png: Uint8Array, texts: Readonly<Record<string, string>>): Buffer {
  const chunks = Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text));
  return Buffer.concat([png.subarray(0, HEADER_END), ...chunks, png.subarray(HEADER_END)]);
}

/**
 * The texts of a PNG file by keyword, for `keywords` only; the first chunk of a keyword counts. Chunks that are
 * damaged, too long or not understood are skipped: the result is what could be read, for any bytes.
 */
export function readPngText(png: Uint8Array, keywords: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  if (!isPng(png)) return found;
  const file = Buffer.from(png.buffer, png.byteOffset, png.byteLength);
  let looked = 0;
  for (let start = SIGNATURE.length; start + 12 <= file.length && looked < MAX_TEXT_CHUNKS; ) {
    const bytes = file.readUInt32BE(start);
    const end = start + 12 + bytes;
    if (end > file.length) break;
    const type = file.toString('latin1', start + 4, start + 8);
    if (type === 'IEND') break;
    if ((type === 'tEXt' || type === 'zTXt' || type === 'iTXt') && bytes <= MAX_TEXT_BYTES) {
      const data = file.subarray(start + 8, end - 4);
      const keyword = data.toString('latin1', 0, Math.max(0, data.subarray(0, MAX_KEYWORD_BYTES + 1).indexOf(0)));
      if (keywords.includes(keyword) && !found.has(keyword)) {
        looked++;
        const intact = crc32(file.subarray(start + 4, end - 4)) === file.readUInt32BE(end - 4);
        const text = intact ? decodeText(type, data.subarray(keyword.length + 1)) : null;
        if (text !== null) found.set(keyword, text);
      }
    }
    start = end;
  }
  return found;
}

/** `data`: what follows the keyword and its NUL. */
function decodeText(type: 'tEXt' | 'zTXt' | 'iTXt', data: Buffer): string | null {
  if (type === 'tEXt') return data.toString('latin1');
  if (type === 'zTXt') return data[0] === 0 ? (inflate(data.subarray(1))?.toString('latin1') ?? null) : null;
  // compression flag, compression method, language NUL, translated keyword NUL, text
  const languageEnd = data.indexOf(0, 2);
  const keywordEnd = languageEnd < 0 ? -1 : data.indexOf(0, languageEnd + 1);
  if (keywordEnd < 0) return null;
  const text = data.subarray(keywordEnd + 1);
  if (data[0] === 0) return text.toString('utf8');
  return data[0] === 1 && data[1] === 0 ? (inflate(text)?.toString('utf8') ?? null) : null;
}

function inflate(data: Buffer): Buffer | null {
  try {
    return inflateSync(data, { maxOutputLength: MAX_TEXT_BYTES });
  } catch {
    return null; // damaged, or longer than anything we read
  }
}

function textChunk(keyword: string, text: string): Buffer {
  const latin1 = /^[\n\x20-\x7e\xa0-\xff]*$/.test(text);
  const data = latin1
    ? Buffer.from(`${keyword}\0${text}`, 'latin1')
    : Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text, 'utf8')]);
  const chunk = Buffer.alloc(12 + data.length);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(latin1 ? 'tEXt' : 'iTXt', 4, 'latin1');
  data.copy(chunk, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4);
  return chunk;
}
