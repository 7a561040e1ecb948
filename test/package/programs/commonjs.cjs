const { SanaPipeline } = require('sana-native');

async function draw() {
  const pipe = await SanaPipeline.fromPretrained('sana-tiny');
  const { images } = await pipe.generate({ prompt: 'a red fox', seed: 7, numInferenceSteps: 2 });
  await images[0].save(process.argv[2]);
  await pipe.dispose();
}

draw();
