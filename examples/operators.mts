// Records operators into a graph, plans it, runs it, and compares the result with plain JavaScript: silu(x weight^T + bias).
//
//   npx tsx examples/operators.mts

import { Arena, costs, Graph, openDevice, Program, read, Storage, write } from 'sana-native/ops';

const [rows, inputs, outputs] = [3, 32, 16];
const numbers = (count: number, step: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(step * i));
const xData = numbers(rows * inputs, 0.7); // [3, 32]
const weightData = numbers(outputs * inputs, 0.3); // [16, 32]
const biasData = numbers(outputs, 1.1); // [16]

// Tensors that outlive a run are reserved in a storage, which is then allocated in one piece.
const { native } = openDevice('cpu');
const storage = new Storage(native, 'example');
const x = storage.reserve('f32', [rows, inputs]);
const weight = storage.reserve('f32', [outputs, inputs], 'linear'); // packed for the device's matrix kernels
const bias = storage.reserve('f32', [outputs]);
const y = storage.reserve('f32', [rows, outputs]);

// Recording checks every shape and computes nothing. The intermediate result is placed by the planner.
const g = new Graph('example');
g.scope('layer', () => {
  const sum = g.linear(x, weight, { bias }); // [3, 16]
  g.activation(sum, 'silu', { into: y }); // [3, 16]
});
const plan = g.plan();
for (const { scope, op, shapes, flops } of costs(plan)) console.log(`${scope} > ${op} ${shapes}: ${flops} FLOP`);
console.log(`intermediates take ${plan.arenaBytes} bytes`);

storage.allocate();
await write(native, x, xData);
await write(native, bias, biasData);
await native.pack({
  data: new Uint8Array(weightData.buffer),
  dataDtype: 'f32',
  rows: outputs,
  rowElements: inputs,
  buffer: storage.buffer,
  target: weight,
  firstRow: 0,
});
const program = new Program(native, plan);
const arena = new Arena(native);
await program.run(arena);
const result = new Float32Array(await read(native, y));

let difference = 0;
for (let row = 0; row < rows; row++) {
  for (let column = 0; column < outputs; column++) {
    let sum = biasData[column] ?? 0;
    for (let k = 0; k < inputs; k++) {
      sum += (xData[row * inputs + k] ?? 0) * (weightData[column * inputs + k] ?? 0);
    }
    const expected = sum / (1 + Math.exp(-sum));
    difference = Math.max(difference, Math.abs((result[row * outputs + column] ?? 0) - expected));
  }
}
console.log(`largest difference ${difference.toExponential(1)}`);
