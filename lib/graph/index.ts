/**
 * Record a graph of operators and run it on a device.
 *
 * @module sana-native/ops
 *
 * @example
 * const device = openDevice('cpu');
 * const storage = new Storage(device.native, 'mine');
 * const x = storage.reserve('f32', [2, 4]);
 * const y = storage.reserve('f32', [2, 4]);
 * const g = new Graph('example');
 * g.activation(x, 'silu', { into: y });
 * storage.allocate();
 * await write(device.native, x, new Float32Array(8).fill(1));
 * const program = new Program(device.native, g.plan());
 * await program.run(new Arena(device.native));
 * new Float32Array(await read(device.native, y));
 */

import '../base/package.ts';

export { openDevice } from '../device/devices.ts';
export type { Call } from './call.ts';
export { Graph, type Result } from './graph.ts';
export type { Activation, OperatorSpec } from './operator.ts';
export { type OperatorName, operators } from './operators.ts';
export type { Plan } from './planner.ts';
export { Arena, type CallCost, type CallProfile, costs, Program, read, write } from './program.ts';
export { columns, type DType, entry, type Layout, reshape, rows, Storage, type Tensor } from './tensor.ts';
