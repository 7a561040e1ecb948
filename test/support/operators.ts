/**
 * One operator on one device, from host arrays to host arrays: what the tests of test/operators/ stand on.
 *
 * Operands lie in one buffer, apart from each other, and all that is not an operand is NaN: a kernel that uses what it
 * should not read gives NaN, one that writes where it should not is found by comparing the whole buffer.
 */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytesPerElement } from '../../lib/base/dtypes.ts';
import { requestedPaths } from '../../lib/device/devices.ts';
import {
  addon,
  type CallDescription,
  type NativeBuffer,
  type NativeDevice,
  type NativeFile,
  type OperandDescription,
} from '../../lib/device/native.ts';
import { type OperatorName, operatorSpec } from '../../lib/graph/operators.ts';
import { assertClose, operatorTolerance, type Tolerance } from './golden.ts';
import { type Activation, count, decode, encode, Maker, type Operand, rounded } from './operands.ts';

// ---- devices --------------------------------------------------------------------------------------------------------

const devices = new Map<string, NativeDevice>();

/** A device on one instruction set, opened once. */
export function deviceOn(path: string, threads: number): NativeDevice {
  const key = `${path} ${threads}`;
  const device = devices.get(key) ?? addon().openDevice({ backend: 'cpu', index: 0, threads, path });
  devices.set(key, device);
  return device;
}

function supported(path: string): boolean {
  try {
    deviceOn(path, 1);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_SANA_DEVICE') return false;
    throw error;
  }
}

/** The instruction sets that this machine can run. */
export const paths = ['portable', 'avx2', 'avx512', 'avx512-bf16'].filter(supported);

/** A way to run operators that tests go through: an instruction set, or a CUDA device and a variant of its kernels. */
export interface Machine {
  readonly name: string;
  /** The device, opened once; on the CPU with that many threads. */
  open(threads: number): NativeDevice;
  /** Thread counts that must give the same bits. */
  readonly threads: readonly number[];
  readonly dtypes: readonly Activation[];
  /** An item alone has the bits that it has among others. */
  readonly batchInvariant: boolean;
  /** Examples of more work than this are left to faster machines. */
  readonly mostFlops: number;
  /** The same call gives the same bits by construction: running it again would show nothing. */
  readonly seeded: boolean;
  /** The operators that it is for; absent: all. */
  readonly operators?: readonly OperatorName[];
  /** Whether it runs the example of that index in a table; absent: every one. */
  readonly takes?: (example: Example, index: number, dtype: Activation) => boolean;
}

const activations = ['f32', 'bf16', 'f16'] as const;
const products: readonly OperatorName[] = ['linear', 'conv2d', 'upsampleConv2d'];

const weightDType = ({ operands }: Call): string => operands.weight?.dtype ?? 'none';

/**
 * Which examples a variant runs in the emulation, where all of them on every variant in every dtype would take half an
 * hour: each example on each tile in one of the dtypes that the tile is for, each tile in each of these dtypes.
 */
function takesPairwise(variant: number): NonNullable<Machine['takes']> {
  const exact = exactTiles.some((tile) => matrixVariants[variant]?.startsWith(tile));
  return (example, index, dtype) => {
    // Of i8 and f8 every tile is for all three: they are what x is quantised from.
    if (['i8', 'f8'].includes(weightDType(example))) return (variant + index) % 3 === activations.indexOf(dtype);
    // Of f32 the names of other tiles only force the number of splits.
    if (dtype === 'f32') return exact || (variant + index) % matrixVariants.length === 0;
    return (variant + index) % 2 === (dtype === 'bf16' ? 0 : 1);
  };
}

/** What SANA_TEST_DEVICE=cuda makes of every CUDA device there is; the variants of matrix products on the first. */
function cudaMachines(): Machine[] {
  const mostFlops = Number(process.env.SANA_TEST_FLOPS ?? Number.POSITIVE_INFINITY);
  const found = addon()
    .listDevices()
    .filter(({ backend, problem }) => backend === 'cuda' && problem === '');
  assert(found.length > 0, 'SANA_TEST_DEVICE=cuda, but there is no CUDA device');
  const seeded = found.every(({ name }) => name.startsWith('SIMT emulation'));
  const path = process.env.SANA_NATIVE_CUDA_PATH ?? '';
  const choices = found.map(({ index, name }) => ({ index, name: `cuda:${index} (${name})`, variant: path }));
  // These are of the portable path.
  const variants = path === '' ? matrixVariants : [];
  choices.push(...variants.map((variant) => ({ index: 0, name: `cuda:0, tiles ${variant}`, variant })));
  const opened = new Map<number, Map<string, NativeDevice>>(found.map(({ index }) => [index, new Map()]));
  return choices.map(({ index, name, variant }) => {
    const open = (): NativeDevice => {
      const variants = opened.get(index) as Map<string, NativeDevice>; // of what was found
      if ([...variants.values()].some(({ info }) => info.problem !== '')) {
        // A kernel of an earlier test has failed: this test opens its own device.
        for (const device of variants.values()) device.dispose();
        variants.clear();
      }
      const path = variant === '' ? (requestedPaths().cuda ?? '') : variant;
      const device = variants.get(variant) ?? addon().openDevice({ backend: 'cuda', index, threads: 0, path });
      variants.set(variant, device);
      return device;
    };
    const takes = seeded ? { takes: takesPairwise(matrixVariants.indexOf(variant)) } : {};
    const only = variant === path ? {} : { operators: products, ...takes };
    return { name, open, threads: [0], dtypes: activations, batchInvariant: false, mostFlops, seeded, ...only };
  });
}

/** Variants of matrix products, as cuda/kernels/tiles.h names them: every tile, some with K split. */
export const matrixVariants: readonly string[] = [
  '128x256',
  '256x128/2',
  '128x128/3',
  '128x64',
  '64x128',
  '64x64/7',
  '32x64',
];

/** The tiles among them that f32 has. */
const exactTiles: readonly string[] = ['128x64', '64x64'];

export const machines: readonly Machine[] =
  process.env.SANA_TEST_DEVICE === 'cuda'
    ? cudaMachines()
    : paths.map((path) => ({
        name: path,
        open: (threads) => deviceOn(path, threads),
        threads: [1, 2, 3],
        dtypes: ['f32', 'bf16'],
        batchInvariant: true,
        mostFlops: Number.POSITIVE_INFINITY,
        seeded: false,
      }));

/** The machines that have products with weights of f8. */
export const machinesWithF8: readonly Machine[] = machines.filter(
  (machine) => machine.open(1).info.refusals.f8 === undefined,
);

// ---- examples --------------------------------------------------------------------------------------------------------

/** One call of an operator with all that it reads. */
export interface Call {
  readonly op: OperatorName;
  readonly operands: Readonly<Record<string, Operand>>;
  readonly attributes?: CallDescription['attributes'];
}

/** A call, and what the plain loops make of it. */
export interface Example extends Call {
  /** The operands that the call writes, as the reference has them: computed for what is run, once. */
  readonly expected: () => Readonly<Record<string, ArrayLike<number>>>;
  /** How the call can be split into separate calls, if it can: each of them alone must give the same bits. */
  readonly items?: Items;
  /** Other than the operator tolerance, beyond the rounding of the output; 'exact': the reference rounded to that dtype. */
  readonly tolerance?: Tolerance | 'exact';
}

/** Batch items, rows or sequences: the first dimension of every operand falls into `count` equal parts, */
export interface Items {
  readonly count: number;
  /** except for these and packed weights, which every item uses as a whole, */
  readonly shared?: readonly string[];
  /** and these, which are split into the parts given by the attribute `lengths`. */
  readonly sequences?: readonly string[];
}

// ---- running --------------------------------------------------------------------------------------------------------

const guard = 64; // bytes between operands
const sentinel = 0x7fc17fc1; // NaN as f32, and as two bf16

interface Placed extends Operand {
  readonly offset: number;
  readonly pitch: number;
}

const align = (bytes: number): number => Math.ceil(bytes / 64) * 64;
const isPacked = (operand: Operand): boolean => (operand.layout ?? 'dense') !== 'dense';

/** Operands in their initial state, packed ones (which need zeros around them) after `plainBytes`. */
function place(device: NativeDevice, operands: Call['operands'], inPlace: string | undefined) {
  const placed: Record<string, Placed> = {};
  let end = guard;
  for (const [name, operand] of Object.entries(operands)) {
    if (isPacked(operand) || (name === 'out' && inPlace !== undefined)) continue;
    const width = operand.shape.at(-1) ?? 1;
    const { first, of } = operand.columns ?? { first: 0, of: width };
    const size = bytesPerElement(operand.dtype);
    placed[name] = { ...operand, offset: end + first * size, pitch: of };
    end = align(end + (count(operand.shape) / width) * of * size + guard);
  }
  const overwritten = placed[inPlace ?? ''];
  if (overwritten) placed.out = overwritten;
  const plainBytes = end;
  for (const [name, operand] of Object.entries(operands)) {
    if (!isPacked(operand)) continue;
    placed[name] = { ...operand, offset: end, pitch: operand.shape.at(-1) ?? 1 };
    end = align(end + device.tensorBytes(operand.dtype, operand.layout ?? 'dense', operand.shape));
  }
  return { placed, plainBytes, bytes: end };
}

/** Calls f(offset in the buffer, offset in the dense operand, bytes) for every row of the last dimension. */
function eachRow(operand: Placed, f: (at: number, from: number, bytes: number) => void): void {
  const size = bytesPerElement(operand.dtype);
  const width = (operand.shape.at(-1) ?? 1) * size;
  for (let row = 0; row * width < count(operand.shape) * size; row++) {
    f(operand.offset + row * operand.pitch * size, row * width, width);
  }
}

const describeOperand = ({ dtype, layout, offset, shape, pitch }: Placed): Omit<OperandDescription, 'buffer'> => ({
  dtype,
  layout: layout ?? 'dense',
  offset,
  shape,
  pitch,
});

/** Weights that wait for being packed: raw elements in files of a temporary folder. */
export class WeightFiles {
  readonly #folder = mkdtempSync(join(tmpdir(), 'sana-native-'));
  readonly #written = new Map<Float32Array, string>();

  /** A file of these elements and nothing else. */
  open(data: Float32Array, stored: 'f32' | 'bf16' | 'f16'): NativeFile {
    const path = this.#written.get(data) ?? join(this.#folder, `${this.#written.size}.bin`);
    if (!this.#written.has(data)) writeFileSync(path, encode(data, stored));
    this.#written.set(data, path);
    return addon().openFile(path);
  }

  /** Packs an operand through the door that checkpoints take; resolves to the number of NaN and infinite elements. */
  async pack(device: NativeDevice, buffer: NativeBuffer, operand: Operand, offset: number): Promise<number> {
    const { stored = 'f32', data = assert.fail('a packed operand has data') } = operand;
    const [n = 1] = operand.shape;
    const rowElements = data.length / n;
    const target = describeOperand({ ...operand, offset, pitch: operand.shape.at(-1) ?? 1 });
    const file = this.open(data, stored);
    try {
      let firstRow = 0;
      let nonFinite = 0;
      for (const rows of operand.parts ?? [n]) {
        const fileOffset = firstRow * rowElements * (stored === 'f32' ? 4 : 2);
        const source = { file, fileOffset, fileDtype: stored, rows, rowElements };
        nonFinite += await device.pack({ ...source, buffer, target, firstRow });
        firstRow += rows;
      }
      assert.equal(firstRow, n, 'the parts are all rows');
      return nonFinite;
    } finally {
      file.close();
    }
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export interface Outcome {
  /** The operands that the call wrote, dense. */
  readonly values: Readonly<Record<string, Float32Array | Int32Array | Uint8Array>>;
  readonly bytes: Readonly<Record<string, Buffer>>;
}

/** Runs a call, `out` in the place of the operand `inPlace`, and checks that nothing else was written. */
export async function run(device: NativeDevice, files: WeightFiles, given: Call, inPlace?: string): Promise<Outcome> {
  const { op, operands, attributes = {} } = given;
  const { placed, plainBytes, bytes } = place(device, operands, inPlace);
  const image = Buffer.from(new Uint32Array(plainBytes / 4).fill(sentinel).buffer);
  const buffer = device.allocate(bytes);
  try {
    for (const [name, operand] of Object.entries(placed)) {
      if (isPacked(operand)) {
        await files.pack(device, buffer, operands[name] as Operand, operand.offset);
      } else if (operand.data) {
        const data = encode(operand.data, operand.dtype);
        eachRow(operand, (at, from, length) => image.set(data.subarray(from, from + length), at));
      }
    }
    await device.write(buffer, 0, image);
    const described = Object.entries(placed).map(([name, operand]) => [
      name,
      { ...describeOperand(operand), buffer: 0 },
    ]);
    const call = { op, operands: Object.fromEntries(described), attributes };
    const program = device.createProgram({ calls: [call], buffers: [buffer], arenaBytes: 0 });
    await device.run(program, null).promise;
    program.dispose();
    const after = Buffer.from(await device.read(buffer, 0, plainBytes));
    const results: Record<string, Buffer> = {};
    for (const { name, role } of operatorSpec(op).operands) {
      if (role !== 'out' && role !== 'inout') continue;
      const operand = placed[name] as Placed;
      const dense = Buffer.alloc(count(operand.shape) * bytesPerElement(operand.dtype));
      eachRow(operand, (at, from, length) => {
        after.copy(dense, from, at, at + length);
        image.set(after.subarray(at, at + length), at);
      });
      results[name] = dense;
    }
    assert(image.equals(after), `${nameOf(given)}: something beside the output was written`);
    const values = Object.entries(results).map(([name, dense]) => [
      name,
      decode(dense, (placed[name] as Placed).dtype),
    ]);
    return { values: Object.fromEntries(values), bytes: results };
  } finally {
    buffer.dispose();
  }
}

/** `linear: x bf16 [33, 1152], weight bf16 linear [1152, 1152], ... activation silu`. */
export function nameOf({ op, operands, attributes = {} }: Call): string {
  const parts = Object.entries(operands).map(([name, { dtype, layout = '', shape, columns }]) => {
    const view = columns ? ` of ${columns.of} columns` : '';
    return [name, dtype, layout, `[${shape.join(', ')}]${view}`].filter((word) => word !== '').join(' ');
  });
  for (const [name, value] of Object.entries(attributes)) parts.push(`${name} ${String(value)}`);
  return `${op}: ${parts.join(', ')}`;
}

/**
 * What is wrong with a bf16 or f16 output besides that it was rounded: `actual` moved towards `expected` by half a unit
 * in the last of bf16's 8 or f16's 11 bits, to be held to the tolerances of f32. Tighter than any relative error of whole outputs.
 */
function beyondRounding(actual: ArrayLike<number>, expected: ArrayLike<number>, dtype: 'bf16' | 'f16'): Float64Array {
  const powers = Float32Array.from(expected);
  const bits = new Uint32Array(powers.buffer);
  const moved = new Float64Array(actual.length);
  for (let i = 0; i < moved.length; i++) {
    bits[i] = (bits[i] as number) & 0x7f800000; // i < length: the largest power of two that is not above |expected|
    const half =
      dtype === 'bf16' ? (powers[i] as number) * 2 ** -8 : Math.max(powers[i] as number, 2 ** -14) * 2 ** -11;
    const [x, e] = [actual[i] as number, expected[i] as number];
    moved[i] = Math.abs(x - e) <= half ? e : x - Math.sign(x - e) * half;
  }
  return moved;
}

const references = new WeakMap<Example['expected'], ReturnType<Example['expected']>>();

export function assertExpected(example: Example, { values }: Outcome, what: string): void {
  const expected = references.get(example.expected) ?? example.expected();
  references.set(example.expected, expected);
  for (const [name, reference] of Object.entries(expected)) {
    const dtype = example.operands[name]?.dtype ?? 'f32';
    const actual = values[name] ?? [];
    const { tolerance } = example;
    if (tolerance === 'exact') {
      const exact = rounded(reference, dtype);
      const wrong = exact.findIndex((value, i) => !Object.is(value, actual[i]) && !(value === 0 && actual[i] === 0));
      assert(wrong < 0, `${what}: ${name}[${wrong}] is ${actual[wrong]}, not ${exact[wrong]}`);
    } else {
      const compared = dtype === 'bf16' || dtype === 'f16' ? beyondRounding(actual, reference, dtype) : actual;
      assertClose(compared, reference, tolerance ?? operatorTolerance(reference), `${what}: ${name}`);
    }
  }
}

/** Item `index` of an example, and where its outputs begin in those of the whole, in bytes. */
function itemOf(example: Example, index: number): { call: Call; start: Readonly<Record<string, number>> } {
  const { items = assert.fail('no items'), attributes = {} } = example;
  const lengths = Array.isArray(attributes.lengths) ? (attributes.lengths as number[]) : [];
  const operands: Record<string, Operand> = {};
  const start: Record<string, number> = {};
  for (const [name, operand] of Object.entries(example.operands)) {
    operands[name] = operand;
    if (isPacked(operand) || items.shared?.includes(name)) continue;
    const [size = 0, ...rest] = operand.shape;
    const byLengths = items.sequences?.includes(name) === true;
    const rows = byLengths ? (lengths[index] ?? 0) : size / items.count;
    const first = byLengths ? lengths.slice(0, index).reduce((a, b) => a + b, 0) : index * rows;
    assert(Number.isInteger(rows), `${nameOf(example)}: ${name} does not fall into ${items.count} items`);
    const data = operand.data?.slice(first * count(rest), (first + rows) * count(rest));
    operands[name] = { ...operand, shape: [rows, ...rest], ...(data && { data }) };
    start[name] = first * count(rest) * bytesPerElement(operand.dtype);
  }
  const own = lengths.length > 0 ? { ...attributes, lengths: [lengths[index] ?? 0] } : attributes;
  return { call: { op: example.op, operands, attributes: own }, start };
}

// ---- tests ----------------------------------------------------------------------------------------------------------

/** FLOPs of an example, as the operator table counts them. */
function flopsOf({ op, operands, attributes = {} }: Call): number {
  return operatorSpec(op).flops(operands as never, attributes as never); // shapes are all it looks at
}

/** One example on one machine: what the plain loops say, and the same bits in every way that must not matter. */
async function check(machine: Machine, files: WeightFiles, example: Example): Promise<void> {
  const what = nameOf(example);
  const [fewest = 0] = machine.threads;
  const first = await run(machine.open(fewest), files, example);
  assertExpected(example, first, what);
  const same = ({ bytes }: Outcome, how: string): void => {
    for (const [name, dense] of Object.entries(bytes)) {
      assert(first.bytes[name]?.equals(dense), `${what}: other bits of ${name} ${how}`);
    }
  };
  for (const threads of machine.seeded ? [] : machine.threads) {
    same(await run(machine.open(threads), files, example), `when run again on ${threads} threads`);
  }
  const { out } = example.operands;
  for (const name of operatorSpec(example.op).inPlace) {
    const operand = example.operands[name];
    const fits = operand && out && operand.dtype === out.dtype && operand.shape.join() === out.shape.join();
    if (fits) same(await run(machine.open(fewest), files, example, name), `in place of ${name}`);
  }
  if (!machine.batchInvariant) return;
  for (const index of example.items ? new Set([0, example.items.count - 1]) : []) {
    const item = itemOf(example, index);
    const alone = await run(machine.open(fewest), files, item.call);
    for (const [name, dense] of Object.entries(alone.bytes)) {
      const start = item.start[name] ?? 0;
      const among = first.bytes[name]?.subarray(start, start + dense.length);
      assert(among?.equals(dense), `${what}: item ${index} has other bits of ${name} when alone`);
    }
  }
}

/**
 * Declares an operator's tests, one for each machine and dtype: every example is what the plain loops say, and has the
 * same bits when run again, in place of every input that it may overwrite, and on the CPU on any number of threads and
 * (the first and the last of its items) alone. `among`: the machines that have the operator, if not all do.
 */
export function testOperator(
  op: OperatorName,
  examples: (make: Maker) => readonly Example[],
  among: readonly Machine[] = machines,
): void {
  for (const dtype of activations) {
    const able = among.filter(({ dtypes, operators = [op] }) => dtypes.includes(dtype) && operators.includes(op));
    if (able.length === 0) continue;
    context(`${op} in ${dtype}`, () => {
      let all: readonly Example[] = [];
      let files: WeightFiles;
      before(() => {
        files = new WeightFiles();
        all = examples(new Maker(dtype));
      });
      after(() => {
        files.dispose();
        all = []; // mocha keeps what its functions hold
      });
      for (const machine of able) {
        it(`on ${machine.name}`, async function () {
          const { takes = () => true, mostFlops } = machine;
          const taken = all.filter((one, i) => takes(one, i, dtype) && flopsOf(one) <= mostFlops);
          if (taken.length === 0) this.skip();
          for (const example of taken) await check(machine, files, example);
        });
      }
    });
  }
}
