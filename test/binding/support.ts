/** What the tests of the addon share: devices, operands, one well-formed call of every operator, long programs. */

import { requestedPaths } from '../../lib/device/devices.ts';
import type {
  CallDescription,
  Layout,
  NativeBuffer,
  NativeDevice,
  NativeProgram,
  OperandDescription,
} from '../../lib/device/native.ts';
import { addon } from '../../lib/device/native.ts';

export function openCpu(threads = 0, path?: string): NativeDevice {
  return addon().openDevice({ backend: 'cpu', index: 0, threads, path: path ?? requestedPaths().cpu ?? '' });
}

/** A contiguous f32 tensor at the start of the first buffer, unless `other` overrides it. */
export function tensor(shape: readonly number[], other: Partial<OperandDescription> = {}): OperandDescription {
  return { buffer: 0, offset: 0, dtype: 'f32', layout: 'dense', shape, pitch: shape.at(-1) ?? 1, ...other };
}

export const float32 = (data: ArrayBuffer) => new Float32Array(data);
export const bytesOf = (data: ArrayBufferView) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** Reproducible numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export const bufferBytes = 128 << 10;

type Shapes = Readonly<Record<string, readonly number[] | OperandDescription>>;

/** The operands one after another in the first buffer, 64-byte aligned, with gaps between them. */
function call(
  op: string,
  operands: Shapes,
  attributes: CallDescription['attributes'] = {},
  capacity = bufferBytes,
): CallDescription {
  let end = 64;
  const place = (name: string, value: readonly number[] | OperandDescription): OperandDescription => {
    const given = 'shape' in value ? value : tensor(value);
    const offset = end;
    // Room for what packing adds: rows up to a multiple of 64, and 16 taps for 9.
    const [first = 1, ...rest] = given.shape;
    const rows = given.layout === 'dense' ? first : 2 * Math.ceil(first / 64) * 64;
    const bytes = 4 * [rows, ...rest].reduce((a, b) => a * b, given.pitch / (given.shape.at(-1) ?? 1));
    end += Math.ceil(bytes / 64 + 1) * 64;
    if (end > capacity) throw new Error(`${op}.${name} does not fit the test's buffer`);
    return { ...given, offset };
  };
  return { op, operands: Object.fromEntries(Object.entries(operands).map(([k, v]) => [k, place(k, v)])), attributes };
}

const packed = (layout: Layout, shape: readonly number[], dtype: 'f32' | 'bf16' = 'f32') =>
  tensor(shape, { layout, dtype });
const bf16 = (shape: readonly number[]) => tensor(shape, { dtype: 'bf16' });

/** Well-formed calls, at least one of every operator, in a first buffer of `bufferBytes`. */
export const wellFormed: readonly CallDescription[] = [
  call(
    'linear',
    {
      x: tensor([2, 3, 20], { pitch: 24 }),
      weight: packed('linear', [10, 20]),
      bias: [10],
      gate: [2, 10],
      residual: [2, 3, 10],
      out: tensor([2, 3, 10], { pitch: 16 }),
    },
    { activation: 'silu', clip: 3 },
  ),
  call(
    'linear',
    { x: bf16([5, 20]), weight: packed('gatedLinear', [12, 20], 'bf16'), out: [5, 6] },
    { activation: 'gelu-tanh', clip: 0 },
  ),
  call(
    'conv2d',
    { x: [1, 5, 6, 4], weight: packed('conv2d', [6, 3, 3, 4]), bias: [6], residual: [1, 3, 3, 6], out: [1, 3, 3, 6] },
    { stride: 2, activation: 'relu' },
  ),
  call('upsampleConv2d', {
    x: [1, 3, 2, 4],
    weight: packed('upsampleConv2d', [6, 3, 3, 4]),
    bias: [6],
    residual: [1, 6, 4, 6],
    out: [1, 6, 4, 6],
  }),
  call('depthwiseConvGlu', {
    x: [2, 3, 4, 12],
    weight: packed('depthwise', [12, 3, 3]),
    bias: [12],
    out: [2, 3, 4, 6],
  }),
  call('multiScaleProject', {
    x: tensor([1, 4, 3, 12], { pitch: 20 }),
    depthwise: packed('depthwise', [12, 5, 5]),
    pointwise: [12, 4],
    out: tensor([1, 4, 3, 12], { pitch: 24 }),
  }),
  call('layerNormModulate', { x: [2, 3, 8], shift: [2, 8], scale: [2, 8], out: bf16([2, 3, 8]) }, { epsilon: 1e-6 }),
  call(
    'rmsNorm',
    { x: tensor([4, 10], { pitch: 12 }), weight: [10], bias: [10], residual: [4, 10], out: [4, 10] },
    { epsilon: 1e-5, offset: 1, activation: 'none' },
  ),
  call('linearAttention', { qkv: [2, 5, 24], out: [2, 5, 8] }, { headDim: 4, order: 'split', epsilon: 1e-15 }),
  call(
    'linearAttention',
    { qkv: bf16([1, 7, 24]), out: [1, 7, 8] },
    { headDim: 4, order: 'interleaved', epsilon: 1e-8 },
  ),
  call(
    'crossAttention',
    { q: [2, 3, 8], k: tensor([5, 8], { pitch: 16 }), v: tensor([5, 8], { pitch: 16 }), out: [2, 3, 8] },
    { heads: 2, scale: 0.5, lengths: [2, 3] },
  ),
  call(
    'causalAttention',
    { qkv: [7, 32], prefix: [3, 16], out: [7, 16] },
    { heads: 4, kvHeads: 2, scale: 0.5, softcap: 50, window: 3, lengths: [4, 3] },
  ),
  call('rotaryEmbedding', { x: [3, 20], cos: [3, 4], sin: [3, 4], out: [3, 20] }, { heads: 2 }),
  call('timestepEmbedding', { timestep: [3], out: [3, 8] }),
  call('modulation', { table: [12, 8], embedding: [2, 48], out: [12, 2, 8] }),
  call('tanhClamp', { x: bf16([7, 3]), out: [7, 3] }, { limit: 30 }),
  call('activation', { x: [3, 7], out: bf16([3, 7]) }, { activation: 'silu' }),
  call('tanhClamp', { x: [3, 7], out: bf16([3, 7]) }, { limit: 3 }),
  call('convert', { x: [2, 3, 5], out: tensor([4, 3, 5], { pitch: 7 }) }, { scale: 2, repeat: 2 }),
  call('transpose', { x: [2, 3, 5], out: [2, 5, 3] }),
  call('pixelShuffle', { x: [1, 3, 2, 8], residual: [1, 6, 4, 4], out: [1, 6, 4, 4] }, { factor: 2 }),
  call('pixelUnshuffle', { x: [1, 6, 4, 4], residual: [1, 3, 2, 8], out: [1, 3, 2, 8] }, { factor: 2 }),
  call('solverStep', { velocity: [4, 3, 5], coefficients: [7], latents: [2, 3, 5], previous: [2, 3, 5] }),
  call('resizeCrop', { x: [1, 5, 4, 3], out: [1, 7, 6, 3] }, { resizedHeight: 8, resizedWidth: 6 }),
  call('toRgb8', { x: [1, 4, 5, 3], out: tensor([1, 4, 5, 3], { dtype: 'u8' }) }),
  call('countNonFinite', { x: [4, 5], out: tensor([1], { dtype: 'i32' }) }),
];

export const limitBytes = 96 << 20;

const limit = (op: string, operands: Shapes, attributes: CallDescription['attributes'] = {}) =>
  call(op, operands, attributes, limitBytes);
const plain = { activation: 'none', clip: 0 };

/** Calls as wide, deep or uneven as their contracts allow, in a first buffer of `limitBytes`: workspaces must do. */
export const atTheLimits: readonly CallDescription[] = [
  limit('linear', { x: [3, 100_003], weight: packed('linear', [33, 100_003]), out: [3, 33] }, plain),
  limit('linear', { x: bf16([2, 70_001]), weight: packed('gatedLinear', [34, 70_001], 'bf16'), out: [2, 17] }, plain),
  limit('linear', { x: [70_001, 3], weight: packed('linear', [5, 3]), out: [70_001, 5] }, plain),
  limit('linear', { x: [2, 3], weight: packed('linear', [100_003, 3]), out: [2, 100_003] }, plain),
  limit(
    'conv2d',
    { x: [1, 17, 18, 40], weight: packed('conv2d', [33, 15, 15, 40]), out: [1, 9, 9, 33] },
    { stride: 2, activation: 'none' },
  ),
  limit(
    'conv2d',
    { x: bf16([1, 2, 3, 16_384]), weight: packed('conv2d', [9, 1, 3, 16_384], 'bf16'), out: [1, 2, 3, 9] },
    { stride: 1, activation: 'none' },
  ),
  limit(
    'conv2d',
    { x: [1, 1, 16_384, 3], weight: packed('conv2d', [5, 15, 1, 3]), out: [1, 1, 16_384, 5] },
    { stride: 1, activation: 'none' },
  ),
  limit('upsampleConv2d', {
    x: [1, 2, 3, 4096],
    weight: packed('upsampleConv2d', [9, 3, 3, 4096]),
    out: [1, 4, 6, 9],
  }),
  limit('depthwiseConvGlu', {
    x: bf16([1, 3, 5, 16_384]),
    weight: packed('depthwise', [16_384, 3, 3]),
    bias: [16_384],
    out: [1, 3, 5, 8192],
  }),
  limit('multiScaleProject', {
    x: [1, 6, 131, 768],
    depthwise: packed('depthwise', [768, 5, 5]),
    pointwise: [768, 256],
    out: [1, 6, 131, 768],
  }),
  limit(
    'layerNormModulate',
    { x: [2, 3, 16_384], shift: [2, 16_384], scale: [2, 16_384], out: [2, 3, 16_384] },
    { epsilon: 0 },
  ),
  limit(
    'rmsNorm',
    { x: bf16([5, 16_383]), weight: [16_383], out: [5, 16_383] },
    { epsilon: 0, offset: 1, activation: 'none' },
  ),
  limit('linearAttention', { qkv: [1, 700, 1536], out: [1, 700, 512] }, { headDim: 256, order: 'split', epsilon: 0 }),
  limit(
    'linearAttention',
    { qkv: bf16([2, 300, 765]), out: [2, 300, 255] },
    { headDim: 255, order: 'interleaved', epsilon: 0 },
  ),
  limit(
    'linearAttention',
    { qkv: [1, 3, 3 * 16_384], out: [1, 3, 16_384] },
    { headDim: 1, order: 'interleaved', epsilon: 0 },
  ),
  limit(
    'crossAttention',
    { q: [2, 65, 512], k: [9001, 512], v: [9001, 512], out: [2, 65, 512] },
    { heads: 2, scale: 1, lengths: [8192, 809] },
  ),
  limit(
    'causalAttention',
    { qkv: [8193, 24], prefix: [8192, 16], out: [8193, 8] },
    { heads: 1, kvHeads: 1, scale: 1, softcap: 0, window: 512, lengths: [8192, 1] },
  ),
  limit(
    'causalAttention',
    { qkv: bf16([200, 1024]), prefix: bf16([131, 512]), out: [200, 512] },
    { heads: 2, kvHeads: 1, scale: 1, softcap: 1e-30, window: 2 ** 31 - 1, lengths: [67, 133] },
  ),
  limit('rotaryEmbedding', { x: [5, 16_389], cos: [5, 128], sin: [5, 128], out: [5, 16_389] }, { heads: 64 }),
  limit('timestepEmbedding', { timestep: [3], out: bf16([3, 16_384]) }),
  limit('modulation', { table: [5, 3000], embedding: [2, 9000], out: [5, 2, 3000] }),
  limit('transpose', { x: [1, 16_385, 67], out: [1, 67, 16_385] }),
  limit('pixelShuffle', { x: [1, 2, 3, 16_384], out: [1, 4, 6, 16_384] }, { factor: 2 }),
  limit('pixelShuffle', { x: [1, 2, 3, 1], out: [1, 2, 3, 16_384] }, { factor: 1 }),
  limit('pixelUnshuffle', { x: [1, 4, 6, 16_384], out: [1, 2, 3, 16_384] }, { factor: 2 }),
  limit('pixelUnshuffle', { x: bf16([1, 4, 6, 16_384]), out: [1, 2, 3, 1] }, { factor: 2 }),
  limit('resizeCrop', { x: [1, 1, 16_384, 3], out: [1, 64, 1024, 3] }, { resizedHeight: 16_384, resizedWidth: 16_384 }),
  limit('countNonFinite', { x: [3_000_017], out: tensor([1], { dtype: 'i32' }) }),
];

/** A program that keeps every thread busy for seconds: `calls` products of [512, 512] matrices. */
export function longProgram(device: NativeDevice, calls = 3000): { program: NativeProgram; arena: NativeBuffer } {
  const size = 512;
  const bytes = 4 * size * size;
  const weight = tensor([size, size], { buffer: -1, layout: 'linear' });
  const weightBytes = Math.ceil(device.tensorBytes('f32', 'linear', weight.shape) / 64) * 64;
  const x = tensor([size, size], { buffer: -1, offset: weightBytes });
  const out = tensor([size, size], { buffer: -1, offset: weightBytes + bytes });
  const one = { op: 'linear', operands: { x, weight, out }, attributes: { activation: 'none', clip: 0 } } as const;
  const arenaBytes = weightBytes + 2 * bytes;
  const program = device.createProgram({ calls: Array(calls).fill(one), buffers: [], arenaBytes });
  return { program, arena: device.allocate(arenaBytes) };
}
