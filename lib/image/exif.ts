/** Reads the one field of an EXIF block that image generators write to: the user comment. */

const EXIF_FOLDER = 0x8769;
const USER_COMMENT = 0x9286;
const UNDEFINED_BYTES = 7;
const ENTRY_BYTES = 12;

/**
 * The user comment of an EXIF block, or null. The block is a TIFF file (with `Exif\0\0` before it or not): a directory
 * of entries, one of which points to the EXIF directory, which has the comment. No loop follows an offset more than
 * twice.
 */
export function readUserComment(exif: Uint8Array): string | null {
  const block = Buffer.from(exif.buffer, exif.byteOffset, exif.byteLength);
  const tiff = block.toString('latin1', 0, 6) === 'Exif\0\0' ? block.subarray(6) : block;
  const order = tiff.toString('latin1', 0, 2);
  if (tiff.length < 8 || (order !== 'II' && order !== 'MM')) return null;
  const little = order === 'II';
  const u16 = (at: number) => (little ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at));
  const u32 = (at: number) => (little ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at));

  /** The position of a tag's entry in a directory, or null: tag u16, type u16, count u32, value or offset u32. */
  const entry = (folder: number, tag: number): number | null => {
    if (folder + 2 > tiff.length) return null;
    for (let i = 0, at = folder + 2; i < u16(folder) && at + ENTRY_BYTES <= tiff.length; i++, at += ENTRY_BYTES) {
      if (u16(at) === tag) return at;
    }
    return null;
  };

  const pointer = entry(u32(4), EXIF_FOLDER);
  const comment = pointer === null ? null : entry(u32(pointer + 8), USER_COMMENT);
  if (comment === null || u16(comment + 2) !== UNDEFINED_BYTES) return null;
  const bytes = u32(comment + 4);
  const at = u32(comment + 8);
  if (bytes <= 8 || at + bytes > tiff.length) return null;
  return decodeComment(tiff.subarray(at, at + bytes), little);
}

/** A comment begins with the name of its encoding, in eight bytes. */
function decodeComment(comment: Buffer, little: boolean): string | null {
  const encoding = comment.toString('latin1', 0, 8).replaceAll('\0', '').trim();
  const text = comment.subarray(8);
  if (encoding === 'ASCII' || encoding === '') return text.toString('utf8').replace(/\0+$/, '');
  if (encoding !== 'UNICODE') return null;
  // UTF-16 in the block's byte order by the standard, big-endian in common practice: a first byte of 0 tells them
  // apart.
  const bigEndian = !little || text[0] === 0;
  return new TextDecoder(bigEndian ? 'utf-16be' : 'utf-16le').decode(text);
}
