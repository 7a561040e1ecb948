// Draws only where a mask is white. Where it is black, the picture stays as it is, to the pixel.
//
//   npx tsx examples/inpainting.mts
//
// Writes before.png, mask.png and after.png.

import { SanaPipeline } from 'sana-native';
import sharp from 'sharp';

await using pipe = await SanaPipeline.fromPretrained('sana-tiny');
const before = await pipe.generate({ prompt: 'a penguin on a blue background', seed: 7 });
await before.images[0]?.save('before.png');

// The left half black (kept), the right half white (drawn again).
const { width = 0, height = 0 } = await sharp('before.png').metadata();
const black = { create: { width: width >> 1, height, channels: 3, background: '#000' } } as const;
await sharp(black)
  .extend({ right: width - (width >> 1), background: '#fff' })
  .toFile('mask.png');

const after = await pipe.generate({
  prompt: 'a penguin on a red background',
  image: 'before.png',
  maskImage: 'mask.png',
  seed: 8,
});
await after.images[0]?.save('after.png');
