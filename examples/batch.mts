// Draws several prompts with several images each in one call, then makes one of the pictures again from its seed alone.
//
//   npx tsx examples/batch.mts
//
// Writes batch-0.png to batch-3.png and again.png.

import { SanaPipeline } from 'sana-native';

await using pipe = await SanaPipeline.fromPretrained('sana-tiny');
const prompt = ['a rocket on a navy background', 'a cactus on a gray background'];

// The images of a prompt follow one another: two rockets, then two cacti. Image i has the seed `seed + i`.
const { images } = await pipe.generate({ prompt, numImagesPerPrompt: 2, seed: 100 });
for (const [i, image] of images.entries()) {
  await image.save(`batch-${i}.png`);
  console.log(`batch-${i}.png: ${image.parameters.prompt}, seed ${image.seed}`);
}

// Any of them can be made again alone. On the CPU it has the same bytes.
const again = await pipe.generate({ prompt: 'a cactus on a gray background', seed: 103 });
await again.images[0]?.save('again.png');
