// Draws in a thread, while another one draws in this.

import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { SanaPipeline } from 'sana-native';

const [file, fileOfThread] = isMainThread ? process.argv.slice(2) : [workerData];
const thread = isMainThread ? new Worker(new URL(import.meta.url), { workerData: fileOfThread }) : undefined;
const ended = thread && new Promise((done, fail) => thread.once('exit', done).once('error', fail));
const pipe = await SanaPipeline.fromPretrained('sana-tiny');
const { images } = await pipe.generate({ prompt: 'a red fox', seed: 7, numInferenceSteps: 2 });
await images[0].save(file);
await pipe.dispose();
await ended;
