/** Renders an icon with premultiplied alpha, to be composited over a background. */

import sharp from 'sharp';
import type { IconSet } from '../concepts/icon-set.ts';

/** Premultiplied RGBA, `[size, size, 4]` bytes. */
export async function renderIcon(set: IconSet, name: string, size: number): Promise<Buffer> {
  const icon = set.icons[name];
  if (icon === undefined) throw new Error(`Expected an icon named '${name}'`);
  const { left = 0, top = 0, width = set.width ?? 16, height = set.height ?? 16, body } = icon;
  const svg =
    `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ` +
    `width="${size}" height="${size}" viewBox="${left} ${top} ${width} ${height}">${body}</svg>`;
  const pixels = await sharp(Buffer.from(svg)).resize(size, size).ensureAlpha().raw().toBuffer();
  return premultiply(pixels);
}

/** In place. */
export function premultiply(pixels: Buffer): Buffer {
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3] ?? 0;
    for (let channel = i; channel < i + 3; channel++) {
      pixels[channel] = Math.round(((pixels[channel] ?? 0) * alpha) / 255);
    }
  }
  return pixels;
}
