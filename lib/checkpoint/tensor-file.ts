/** Whole tensors in memory: reading one from a safetensors file, and writing a small file of them. */

import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { SanaError } from '../base/errors.ts';
import { describeJson } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import { addon, type NativeFile } from '../device/native.ts';
import { encodeHeader, readSafetensors, type TensorEntry } from './safetensors.ts';

/** A tensor in memory, row-major. bf16 and f16 are widened to f32 when they are read. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

type OpenFile = (path: string) => NativeFile;
const openWithAddon: OpenFile = (path) => addon().openFile(path);

/** Reads the tensor `name` of a safetensors file. */
export async function readTensor(path: string, name: string, openFile: OpenFile = openWithAddon): Promise<Tensor> {
  const file = openFile(path);
  try {
    const { tensors } = await readSafetensors(file);
    const entry = tensors.get(name);
    if (entry === undefined) {
      const names = [...tensors.keys()].slice(0, 10).join(', ');
      throw modelError(path, `holds no tensor ${describeJson(name)}: there are ${tensors.size}, ${names}`);
    }
    return decodeTensor(await file.read(entry.offset, entry.bytes), entry);
  } finally {
    file.close();
  }
}

/** Reads every tensor of a safetensors file. */
export async function readTensors(path: string, openFile: OpenFile = openWithAddon): Promise<Map<string, Tensor>> {
  const file = openFile(path);
  try {
    const tensors = new Map<string, Tensor>();
    for (const [name, entry] of (await readSafetensors(file)).tensors) {
      tensors.set(name, decodeTensor(await file.read(entry.offset, entry.bytes), entry));
    }
    return tensors;
  } finally {
    file.close();
  }
}

/** The elements of a tensor, from its bytes. */
export function decodeTensor(bytes: ArrayBuffer, entry: TensorEntry): Tensor {
  const { shape } = entry;
  switch (entry.dtype) {
    case 'f32':
      return { shape, data: new Float32Array(bytes) };
    case 'i32':
      return { shape, data: new Int32Array(bytes) };
    case 'u8':
      return { shape, data: new Uint8Array(bytes) };
    case 'bf16':
      return { shape, data: widenBf16(new Uint16Array(bytes)) };
    case 'f16':
      return { shape, data: widenF16(new Uint16Array(bytes)) };
    case 'other':
      throw modelError(entry.path, `tensor ${describeJson(entry.name)} is ${entry.storedDType}, which is unsupported`);
  }
}

/** A bf16 is the upper half of an f32. */
function widenBf16(halves: Uint16Array): Float32Array {
  const out = new Float32Array(halves.length);
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < halves.length; i++) bits[i] = (halves[i] as number) << 16; // i < length
  return out;
}

/** The exponent's bias grows from 15 to 127; infinity and NaN keep the largest exponent, subnormals become normal. */
export function widenF16(halves: Uint16Array): Float32Array {
  const out = new Float32Array(halves.length);
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i] as number; // i < length
    const magnitude = half & 0x7fff;
    if (magnitude < 0x400) out[i] = (half & 0x8000 ? -1 : 1) * magnitude * 2 ** -24;
    else bits[i] = ((half & 0x8000) << 16) | ((magnitude << 13) + ((magnitude >= 0x7c00 ? 224 : 112) << 23));
  }
  return out;
}

/** Writes a safetensors file, completely or not at all. */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Promise<void> {
  const header: Record<string, unknown> = Object.create(null);
  if (metadata.size > 0) header.__metadata__ = Object.fromEntries(metadata);
  // Wider elements first, so that every tensor is aligned to its element.
  const sorted = [...tensors].sort(
    ([a, x], [b, y]) => y.data.BYTES_PER_ELEMENT - x.data.BYTES_PER_ELEMENT || (a < b ? -1 : 1),
  );
  let end = 0;
  for (const [name, { shape, data }] of sorted) {
    const elements = shape.reduce((product, size) => product * size, 1);
    if (elements !== data.length || name === '__metadata__') {
      throw new SanaError(
        'ERR_SANA_ARGUMENT',
        `Expected tensor '${name}' to have ${elements} elements, [${shape.join(', ')}], got ${data.length}`,
        {
          hint: 'The shape must match the data, and a tensor cannot be named `__metadata__`.',
        },
      );
    }
    header[name] = { dtype: spelling(data), shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx');
    try {
      for (const chunk of [encodeHeader(header), ...sorted.map(([, { data }]) => bytesOf(data))])
        await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new SanaError(
      'ERR_SANA_FILE',
      `${path}: cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: 'Check that the folder exists, that you may write to it, and that the disk is not full.',
        cause,
      },
    );
  }
}

function bytesOf(data: Tensor['data']): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function spelling(data: Tensor['data']): string {
  if (data instanceof Float32Array) return 'F32';
  return data instanceof Int32Array ? 'I32' : 'U8';
}
