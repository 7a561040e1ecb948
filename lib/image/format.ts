/** Image formats, recognised by a file's first bytes: only these are passed to the decoder. */

import { isPng } from './png-text.ts';

export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'avif' | 'gif' | 'tiff';

export function sniffFormat(file: Uint8Array): ImageFormat | null {
  const start = Buffer.from(file.subarray(0, 16)).toString('latin1');
  if (isPng(file)) return 'png';
  if (start.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (start.startsWith('RIFF') && start.startsWith('WEBP', 8)) return 'webp';
  if (start.startsWith('ftypavif', 4) || start.startsWith('ftypavis', 4)) return 'avif';
  if (/^GIF8[79]a/.test(start)) return 'gif';
  if (start.startsWith('II*\0') || start.startsWith('MM\0*')) return 'tiff';
  return null;
}
