// Starts from a picture: the lower the strength, the more of it is kept.
//
//   npx tsx examples/image-to-image.mts
//
// Writes apple.png, apple-0.1.png and apple-0.6.png.

import { SanaPipeline } from 'sana-native';

await using pipe = await SanaPipeline.fromPretrained('sana-tiny');
const { images } = await pipe.generate({ prompt: 'a red apple on a yellow background', seed: 7 });
const [apple] = images;
if (apple === undefined) throw new Error('there is no picture');
await apple.save('apple.png');

// `image` may also be a path, the bytes of an image file, a sharp instance, or { width, height, data } in RGB.
for (const strength of [0.1, 0.6]) {
  const result = await pipe.generate({
    prompt: 'a green apple on a blue background',
    image: apple,
    strength,
    seed: 8,
  });
  await result.images[0]?.save(`apple-${strength}.png`);
}
