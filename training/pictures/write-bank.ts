/** The picture bank: every icon of every style in one file of pixels, from which training composes pictures. */

import { open } from 'node:fs/promises';
import { type IconSet, STYLES, type Style } from '../concepts/icon-set.ts';
import type { Concept } from '../concepts/select-concepts.ts';
import { renderIcon } from './render-icon.ts';

export const PICTURE_SIZE = 256;

/** Writes `[concepts, styles, size, size, 4]` premultiplied bytes. */
export async function writeBank(
  file: string,
  concepts: readonly Concept[],
  sets: Readonly<Record<Style, IconSet>>,
  onProgress: (done: number) => void = () => {},
): Promise<void> {
  const handle = await open(file, 'w');
  try {
    for (const [i, { slug }] of concepts.entries()) {
      const pictures = await Promise.all(STYLES.map((style) => renderIcon(sets[style], slug, PICTURE_SIZE)));
      await handle.write(Buffer.concat(pictures));
      onProgress(i + 1);
    }
  } finally {
    await handle.close();
  }
}
