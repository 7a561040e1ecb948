/** Programs: a plan is passed to the addon once; each run is then one call. */

import { bytesPerElement, type DType } from '../base/dtypes.ts';
import { SanaError } from '../base/errors.ts';
import type {
  CallDescription,
  NativeBuffer,
  NativeDevice,
  NativeProgram,
  OperandDescription,
} from '../device/native.ts';
import type { Call } from './call.ts';
import { operatorSpec } from './operators.ts';
import type { Plan } from './planner.ts';
import { ArenaValue, denseBytes, elements, Storage, type Tensor } from './tensor.ts';

/** What an operator of a plan costs: arithmetic and memory traffic. */
export interface CallCost {
  readonly op: string;
  readonly scope: string;
  readonly shapes: string;
  /** The dtype it computes in: that of its packed weights, otherwise that of its first operand. */
  readonly dtype: DType;
  readonly flops: number;
  /** Bytes read and written if every operand is accessed once. */
  readonly bytes: number;
}

/** A call and the time it took. */
export interface CallProfile extends CallCost {
  readonly ms: number;
}

/** A plan compiled for a device. Its storages must be allocated first, and stay allocated while it is used. */
export class Program {
  readonly plan: Plan;
  readonly #device: NativeDevice;
  readonly #native: NativeProgram;

  constructor(device: NativeDevice, plan: Plan) {
    this.plan = plan;
    this.#device = device;
    const storages = [...storagesOf(plan)];
    const describe = (tensor: Tensor): OperandDescription => ({
      buffer: tensor.place instanceof Storage ? storages.indexOf(tensor.place) : -1,
      offset: tensor.offset + (tensor.place instanceof ArenaValue ? (plan.offsets.get(tensor.place) ?? 0) : 0),
      dtype: tensor.dtype,
      layout: tensor.layout,
      shape: tensor.shape,
      pitch: tensor.pitch,
    });
    const calls = plan.calls.map(
      ({ op, operands, attributes, scope }): CallDescription => ({
        op,
        scope: scope === '' ? plan.name : scope,
        operands: Object.fromEntries(Object.entries(operands).map(([name, tensor]) => [name, describe(tensor)])),
        attributes,
      }),
    );
    const buffers = storages.map((storage) => storage.buffer);
    this.#native = device.createProgram({ calls, buffers, arenaBytes: plan.arenaBytes });
  }

  /** Runs every call in order. If the signal aborts, it stops between two calls and rejects with `signal.reason`. */
  async run(arena: Arena, signal?: AbortSignal): Promise<void> {
    await this.#run(arena, signal, false);
  }

  /** Runs and times every call. */
  async profile(arena: Arena, signal?: AbortSignal): Promise<CallProfile[]> {
    const times = await this.#run(arena, signal, true);
    return costs(this.plan).map((cost, i) => ({ ...cost, ms: times?.[i] ?? 0 }));
  }

  dispose(): void {
    this.#native.dispose();
  }

  async #run(arena: Arena, signal: AbortSignal | undefined, profile: boolean): Promise<Float64Array | undefined> {
    signal?.throwIfAborted();
    const run = this.#device.run(this.#native, arena.atLeast(this.plan.arenaBytes), { profile });
    const cancel = () => run.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await run.promise;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ERR_SANA_CANCELLED') signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }
}

/** The memory that the programs of a pipeline share for their intermediates: as large as the largest program needs. */
export class Arena {
  readonly #device: NativeDevice;
  #buffer: NativeBuffer | undefined;

  constructor(device: NativeDevice) {
    this.#device = device;
  }

  get bytes(): number {
    return this.#buffer?.bytes ?? 0;
  }

  /** The buffer, replaced by a larger one if it is smaller than `bytes`. Its content is lost then, and not needed. */
  atLeast(bytes: number): NativeBuffer | null {
    if (bytes > this.bytes) {
      this.dispose();
      this.#buffer = this.#device.allocate(bytes);
    }
    return this.#buffer ?? null;
  }

  dispose(): void {
    this.#buffer?.dispose();
    this.#buffer = undefined;
  }
}

/** The storages of a plan's operands. */
export function storagesOf(plan: Plan): Set<Storage> {
  const storages = new Set<Storage>();
  for (const { operands } of plan.calls) {
    for (const { place } of Object.values(operands)) if (place instanceof Storage) storages.add(place);
  }
  return storages;
}

/** The cost of each call of a plan. */
export function costs(plan: Plan): CallCost[] {
  return plan.calls.map((call) => ({
    op: call.op,
    scope: call.scope,
    shapes: shapesOf(call),
    dtype: dtypeOf(call),
    flops: operatorSpec(call.op).flops(call.operands, call.attributes),
    bytes: Object.values(call.operands).reduce((sum, tensor) => sum + bytesOf(tensor), 0),
  }));
}

function dtypeOf({ operands }: Call): DType {
  const { weight } = operands;
  const first = weight === undefined || weight.layout === 'dense' ? Object.values(operands)[0] : weight;
  return first?.dtype ?? 'f32';
}

function shapesOf(call: Call): string {
  const one = (tensor: Tensor | undefined) => (tensor === undefined ? '' : `[${tensor.shape.join(', ')}]`);
  const { out, weight, latents } = call.operands;
  const first = Object.values(call.operands)[0];
  const by = weight === undefined || weight.layout === 'dense' ? '' : ` x ${one(weight)}`;
  return `${one(first)}${by} -> ${one(out ?? latents)}`;
}

/** Bytes of a tensor's elements, without padding; the folded up-convolution stores 16/9 of its logical weight. */
function bytesOf(tensor: Tensor): number {
  if (tensor.layout === 'upsampleConv2d') return (elements(tensor.shape) / 9) * 16 * bytesPerElement(tensor.dtype);
  return denseBytes(tensor);
}

/** Copies host data into a tensor of a storage; the data is copied before this returns. */
export function write(
  device: NativeDevice,
  tensor: Tensor,
  data: Uint8Array | Float32Array | Int32Array,
): Promise<void> {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  if (bytes.byteLength !== denseBytes(tensor)) {
    throw new SanaError(
      'ERR_SANA_SHAPE',
      `${bytes.byteLength} bytes do not fill ${tensor.dtype} [${tensor.shape.join(', ')}]`,
      {
        hint: 'Pass as many elements as the tensor has.',
      },
    );
  }
  return device.write(storageOf(tensor).buffer, tensor.offset, bytes);
}

/** Copies a contiguous tensor of a storage to the host. */
export async function read(device: NativeDevice, tensor: Tensor): Promise<ArrayBuffer> {
  return await device.read(storageOf(tensor).buffer, tensor.offset, denseBytes(tensor));
}

function storageOf(tensor: Tensor): Storage {
  if (tensor.place instanceof Storage) return tensor.place;
  throw new SanaError('ERR_SANA_PROGRAM', 'An intermediate has no memory outside its program', {
    hint: 'Let the operator write `into` a tensor reserved in a Storage.',
  });
}
