/** The device that tests share, and small ways to run graphs on it. */

import { openDevice } from '../../lib/device/devices.ts';
import type { NativeDevice } from '../../lib/device/native.ts';
import { Graph } from '../../lib/graph/graph.ts';
import { Arena, Program, read, write } from '../../lib/graph/program.ts';
import { type DType, Storage, type Tensor } from '../../lib/graph/tensor.ts';
import type { DeviceName } from '../../lib/request/types.ts';

/** Where tests run that would run on any device: SANA_TEST_DEVICE, else the CPU. */
export const testDevice: DeviceName = process.env.SANA_TEST_DEVICE === 'cuda' ? 'cuda' : 'cpu';

let shared: NativeDevice | undefined;

/** One device for all tests of a process: opening one starts threads. */
export function sharedDevice(): NativeDevice {
  shared ??= openDevice(testDevice).native;
  return shared;
}

/** Whether the device that tests run on has products with matrices of this dtype. */
export function takesMatrices(dtype: DType): boolean {
  const lease = openDevice(testDevice);
  try {
    return lease.native.info.refusals[dtype] === undefined;
  } finally {
    lease.release();
  }
}

/** Records a graph between host arrays, runs it once and returns what it wrote. */
export async function runGraph(
  inputs: Readonly<Record<string, { readonly shape: readonly number[]; readonly data: ArrayLike<number> }>>,
  record: (
    g: Graph,
    input: (name: string, dtype?: DType) => Tensor,
    output: (name: string, tensor: Tensor) => void,
  ) => void,
  device: NativeDevice = sharedDevice(),
): Promise<Record<string, { shape: readonly number[]; data: Float32Array }>> {
  const storage = new Storage(device, 'test');
  const sources = new Map<string, Tensor>();
  const outputs = new Map<string, Tensor>();
  const g = new Graph('test');
  const input = (name: string, dtype: DType = 'f32'): Tensor => {
    const given = inputs[name];
    if (given === undefined) throw new Error(`no input ${name}`);
    const tensor = sources.get(name) ?? storage.reserve('f32', given.shape);
    sources.set(name, tensor);
    return dtype === 'f32' ? tensor : g.convert(tensor, { dtype });
  };
  const output = (name: string, tensor: Tensor): void => {
    const target = storage.reserve('f32', tensor.shape);
    outputs.set(name, target);
    g.convert(tensor, { into: target });
  };
  record(g, input, output);
  const plan = g.plan();
  storage.allocate();
  const arena = new Arena(device);
  try {
    for (const [name, tensor] of sources) await write(device, tensor, Float32Array.from(inputs[name]?.data ?? []));
    const program = new Program(device, plan);
    await program.run(arena);
    program.dispose();
    const results: Record<string, { shape: readonly number[]; data: Float32Array }> = {};
    for (const [name, tensor] of outputs) {
      results[name] = { shape: tensor.shape, data: new Float32Array(await read(device, tensor)) };
    }
    return results;
  } finally {
    arena.dispose();
    storage.dispose();
  }
}
