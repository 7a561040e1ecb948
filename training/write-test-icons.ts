/**
 * Writes a few small icons, for the test that the built-in model draws what was requested.
 *
 *   npx tsx write-test-icons.ts [data folder]     the folder that prepare-data wrote
 */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { Bank, compose, SCALE } from './pictures/bank.ts';

const CHOSEN = [
  'smiling-cat-with-heart-eyes',
  'red-apple',
  'rocket',
  'owl',
  'octopus',
  'crown',
  'snowman',
  'hamburger',
];
const SIDE = 64; // pixels

const bank = await Bank.open(process.argv[2] ?? join('.cache', 'training'));
const folder = join(import.meta.dirname, '..', 'test', 'fixtures', 'icons');
await mkdir(folder, { recursive: true });
const { size, styles, concepts } = bank.index;
for (const slug of CHOSEN) {
  const concept = concepts.findIndex((candidate) => candidate.slug === slug);
  for (const [style, name] of styles.entries()) {
    const icon = await bank.icon(concept, style);
    // The background shows through where a picture on black and one on white differ.
    const placement = { scale: SCALE, centre: [0.5, 0.5] } as const;
    const [black, white] = [compose(icon, size, [0, 0, 0], placement), compose(icon, size, [255, 255, 255], placement)];
    const plane = size * size;
    const rgba = Buffer.alloc(plane * 4);
    for (let i = 0; i < plane; i++) {
      const opacity = 1 - ((white[i] ?? 0) - (black[i] ?? 0)) / 2;
      for (let c = 0; c < 3; c++) {
        const premultiplied = ((black[c * plane + i] ?? 0) + 1) * 127.5;
        rgba[4 * i + c] = Math.round(opacity > 0 ? Math.min(255, premultiplied / opacity) : 0);
      }
      rgba[4 * i + 3] = Math.round(255 * opacity);
    }
    await sharp(rgba, { raw: { width: size, height: size, channels: 4 } })
      .resize(SIDE, SIDE, { kernel: 'cubic' })
      .png({ palette: true, colours: 64, effort: 10 })
      .toFile(join(folder, `${slug}.${name}.png`));
  }
}
await bank.close();
