// Reports the progress of loading and drawing, and cancels a call.
//
//   npx tsx examples/progress-and-cancellation.mts
//
// Writes owl.png.

import { SanaPipeline } from 'sana-native';

await using pipe = await SanaPipeline.fromPretrained('sana-tiny', {
  // With a repository of the hub, the first events are of phase 'download', with a speed and the time left.
  onProgress: ({ phase, loadedBytes, totalBytes }) => console.log(`${phase}: ${loadedBytes} of ${totalBytes} bytes`),
});

const prompt = 'an owl, noto style, on a purple background';
const { images } = await pipe.generate({
  prompt,
  seed: 7,
  onStep: ({ step, totalSteps, elapsedMs }) =>
    console.log(`step ${step} of ${totalSteps}, ${Math.round(elapsedMs)} ms`),
});
await images[0]?.save('owl.png');

// Any AbortSignal cancels a call between two operators. The call rejects with the reason of the signal.
const controller = new AbortController();
try {
  await pipe.generate({
    prompt,
    signal: controller.signal,
    onStep: ({ step }) => {
      if (step === 3) controller.abort(new Error('three steps are enough'));
    },
  });
} catch (error) {
  if (error !== controller.signal.reason) throw error;
  console.log(`cancelled: ${(error as Error).message}`);
}

// The pipeline stays usable. A time limit is a signal, too: `signal: AbortSignal.timeout(60_000)`.
await pipe.generate({ prompt, numInferenceSteps: 1 });
console.log('drew again after the cancelled call');
