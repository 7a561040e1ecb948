// Plans a request without loading weights, and compares the planned peak with the measured one.
//
//   npx tsx examples/memory.mts

import { SanaPipeline } from 'sana-native';

const model = 'sana-tiny';
const request = { prompt: 'a slice of pizza', width: 512, height: 512, seed: 7 };

const { memory, stages, flops } = await SanaPipeline.explain(model, request);
for (const { name, runs, operators, peakBytes } of stages) {
  console.log(`${name}: ${runs} times, ${operators.length} operators, at most ${peakBytes} bytes`);
}
console.log(`${(flops / 1e9).toFixed(1)} GFLOP, planned peak ${memory.peakBytes} bytes`);

await using pipe = await SanaPipeline.fromPretrained(model);
const drawn = await pipe.generate(request);
console.log(`measured peak ${drawn.memory.peakBytes} bytes`);
