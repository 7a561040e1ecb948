// Saves a preview of the picture every third step while it is being drawn.
//
//   npx tsx examples/previews.mts
//
// Writes preview-3.png, preview-6.png, preview-9.png and rocket.png.

import { SanaPipeline } from 'sana-native';

await using pipe = await SanaPipeline.fromPretrained('sana-tiny');
const { images } = await pipe.generate({
  prompt: 'a rocket, flat style, on a navy background',
  seed: 7,
  onStep: async ({ step, sigma, preview }) => {
    if (step % 3 !== 0) return;
    // Decoding takes time, and the next step waits for it. `latents()` gives the latents instead, without decoding.
    const image = await preview();
    await image.save(`preview-${step}.png`);
    console.log(`preview-${step}.png, noise level before this step ${sigma.toFixed(2)}`);
  },
});
await images[0]?.save('rocket.png');
