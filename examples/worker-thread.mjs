// Draws in a worker thread while the main thread draws, too.
//
//   node examples/worker-thread.mjs
//
// A worker is not needed to keep the event loop free: drawing never blocks it. It is useful if the program around the
// calls is itself in a worker. Writes main.png and worker.png.

import { once } from 'node:events';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { SanaPipeline } from 'sana-native';

// Each thread has its own pipeline and its own weights. `threads` keeps the two from competing for all cores.
const pipe = await SanaPipeline.fromPretrained('sana-tiny', { threads: 1 });

if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url));
  const answer = once(worker, 'message');
  const { images } = await pipe.generate({ prompt: 'a crown on a navy background', seed: 7 });
  await images[0].save('main.png');
  const [file] = await answer;
  console.log(`main.png and ${file}`);
} else {
  const { images } = await pipe.generate({ prompt: 'a sunflower on a gray background', seed: 7 });
  await images[0].save('worker.png');
  parentPort.postMessage('worker.png'); // a pipeline cannot be sent; files, buffers and `image.data` can
}
await pipe.dispose();
