// Keeps a device busy with a program of several seconds, as a child process or a worker. What to do meanwhile is the
// first argument (of the process) or `workerData`: see lifecycle.test.ts.

import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';

const require = createRequire(import.meta.url);
const root = new URL('../..', import.meta.url).pathname;
const addon = require(process.env.SANA_NATIVE_ADDON || require('node-gyp-build').path(root));
const what = workerData ?? process.argv[2];

const device = addon.openDevice({ backend: 'cpu', index: 0, threads: 2 });
const size = 512;
const bytes = 4 * size * size;
const tensor = (offset, layout) => ({ buffer: -1, offset, dtype: 'f32', layout, shape: [size, size], pitch: size });
const weightBytes = Math.ceil(device.tensorBytes('f32', 'linear', [size, size]) / 64) * 64;
const call = {
  op: 'linear',
  operands: {
    x: tensor(weightBytes, 'dense'),
    weight: tensor(0, 'linear'),
    out: tensor(weightBytes + bytes, 'dense'),
  },
  attributes: { activation: 'none', clip: 0 },
};
const arenaBytes = weightBytes + 2 * bytes;
const program = device.createProgram({ calls: Array(what === 'short' ? 3 : 5000).fill(call), buffers: [], arenaBytes });
const arena = device.allocate(arenaBytes);

const run = device.run(program, arena);
run.promise.then(
  () => (parentPort ? parentPort.postMessage('done') : console.log('done')),
  (error) => console.log(error.code),
);
// More work behind it, so that promises, references and queued jobs are all under way.
device.read(arena, 0, 64).catch(() => {});
device.write(arena, 0, new Uint8Array(64)).catch(() => {});
addon.openFile(new URL(import.meta.url).pathname).read(0, 16);

if (what === 'busy') parentPort?.postMessage('busy');
if (what === 'exit') setTimeout(() => process.exit(7), 100);
if (what === 'throw') {
  setTimeout(() => {
    throw new Error('uncaught');
  }, 100);
}
if (what === 'dispose') setTimeout(() => device.dispose(), 100);
if (what === 'forget') setTimeout(() => run.cancel(), 100);
