/**
 * Draws a sheet of prompts and the package's pictures of them: the picture in the README.
 *
 *   npm run contact-sheet -- [model] [file]     default: sana-tiny, ../docs/sana-tiny.png
 */

import { join } from 'node:path';
import sharp, { type OverlayOptions } from 'sharp';
import { SanaPipeline } from '../lib/index.ts';

/** Combinations of things, styles and colours from training, some that are new, and prompts that leave parts out. */
const PROMPTS = [
  'a smiling cat with heart eyes on a teal background',
  'a fox, flat style, on a white background',
  'noto style owl, on a purple background',
  'a red apple, fluent style, on a yellow background',
  'a rocket, flat style, on a navy background',
  'an octopus, noto style, on an orange background',
  'a unicorn, fluent style, on a pink background',
  'a hamburger in flat style, green background',
  'a penguin on a blue background',
  'a snowman, noto style, on a red background',
  'a guitar, fluent style, on a black background',
  'a cactus, flat style, on a gray background',
  'a slice of pizza',
  'a birthday cake on a purple background',
  'a sailboat, noto style, on a blue background',
  'a robot, flat style, on a yellow background',
  'face with tears of joy, fluent style',
  'a crown, noto style, on a navy background',
  'a strawberry on a teal background',
  'a panda, flat style, on a pink background',
  'a ghost, noto style, on a black background',
  'a sunflower, fluent style, on a gray background',
  'a castle in noto style, orange background',
  'a dolphin',
];

const COLUMNS = 6;
const SIDE = 192; // pixels of a picture on the sheet
const GAP = 12;
const LABEL = 40; // pixels below each
const LINE = 30; // characters

const [model = 'sana-tiny', file = join(import.meta.dirname, '..', 'docs', 'sana-tiny.png')] = process.argv.slice(2);
await using pipe = await SanaPipeline.fromPretrained(model);
const pieces: OverlayOptions[] = [];
for (const [i, prompt] of PROMPTS.entries()) {
  const { images } = await pipe.generate({ prompt, seed: 7 });
  const left = GAP + (i % COLUMNS) * (SIDE + GAP);
  const top = GAP + Math.floor(i / COLUMNS) * (SIDE + LABEL + GAP);
  const [image] = images;
  if (image !== undefined) pieces.push({ input: await image.toSharp().resize(SIDE).png().toBuffer(), left, top });
  pieces.push({ input: Buffer.from(label(prompt)), left, top: top + SIDE });
}
const rows = Math.ceil(PROMPTS.length / COLUMNS);
const width = GAP + COLUMNS * (SIDE + GAP);
const height = GAP + rows * (SIDE + LABEL + GAP);
await sharp({ create: { width, height, channels: 3, background: '#ffffff' } })
  .composite(pieces)
  .png({ palette: true, colours: 256, effort: 10 })
  .toFile(file);
console.log(file);

/** A prompt in up to two lines, as SVG. */
function label(text: string): string {
  const space = text.length <= LINE ? text.length : text.lastIndexOf(' ', LINE);
  const lines = [text.slice(0, space), text.slice(space).trim()];
  const spans = lines.map((line, i) => `<text x="${SIDE / 2}" y="${15 + 14 * i}">${line}</text>`).join('');
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${SIDE}" height="${LABEL}" font-family="DejaVu Sans, sans-serif" ` +
    `font-size="11" text-anchor="middle" fill="#333">${spans}</svg>`
  );
}
