// Draws a picture from a prompt and saves it.
//
//   npx tsx examples/text-to-image.mts ["a prompt"]
//
// Writes cat.png.

import { SanaPipeline } from 'sana-native';

const prompt = process.argv[2] ?? 'a smiling cat with heart eyes on a teal background';

// 'sana-tiny' is the built-in model. A folder or a Hugging Face repository goes in its place:
//   SanaPipeline.fromPretrained('Efficient-Large-Model/Sana_600M_512px_diffusers', { variant: 'fp16' })
await using pipe = await SanaPipeline.fromPretrained('sana-tiny');
const { images, seeds, timings } = await pipe.generate({ prompt, seed: 7 });
await images[0]?.save('cat.png');

console.log(`cat.png, seed ${seeds[0]}, ${Math.round(timings.totalMs)} ms`);
