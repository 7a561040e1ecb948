// Draws a picture from a CommonJS program, and shows what to do with an error.
//
//   node examples/text-to-image.cjs ["a prompt"]
//
// Writes fox.png.

const { SanaError, SanaPipeline } = require('sana-native');

async function main() {
  const prompt = process.argv[2] ?? 'a fox, flat style, on a white background';
  const pipe = await SanaPipeline.fromPretrained('sana-tiny');
  try {
    const { images } = await pipe.generate({ prompt, seed: 7 });
    await images[0].save('fox.png');
    console.log('fox.png');
  } finally {
    await pipe.dispose(); // CommonJS has no `await using` at the top level
  }
}

main().catch((error) => {
  if (!(error instanceof SanaError)) throw error;
  console.error(`${error.code}: ${error.message}\n${error.hint}`); // the code is stable, the message may change
  process.exitCode = 1;
});
