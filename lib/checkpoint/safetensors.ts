/**
 * The safetensors format: an 8-byte length, a JSON header of that length, and the tensors' bytes.
 *
 *   { name: { "dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end] }, ..., "__metadata__": { string: string } }
 *
 * A header is accepted only if its tensors follow one another without gaps or overlap up to the very end of the file,
 * so that nothing can hide in the file and no offset leads outside of it.
 */

import {
  type ActivationDtype,
  bytesPerElement,
  dtypes,
  isActivation,
  type StoredDtype,
  storedDtypes,
} from '../base/dtypes.ts';
import { describeJson, isJsonObject, type JsonObject, type JsonValue, parseJsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import type { NativeFile } from '../device/native.ts';

/** Element types that weights may have; `other` are legal in a file but cannot be weights here. */
export type TensorDType = StoredDtype | 'other';

/** One tensor of a file, by the position of its bytes. */
export interface TensorEntry {
  readonly name: string;
  readonly dtype: TensorDType;
  readonly storedDType: string; // as the file spells it: 'F32', 'BF16', 'I64', ...
  readonly shape: readonly number[];
  readonly offset: number; // bytes from the start of the file
  readonly bytes: number;
  readonly path: string; // of the file
}

/** Element types of weights, which are converted to the compute type when they are loaded. */
export type WeightDType = ActivationDtype;

export function isWeight(entry: TensorEntry): entry is TensorEntry & { readonly dtype: WeightDType } {
  return entry.dtype !== 'other' && isActivation(entry.dtype);
}

export interface SafetensorsHeader {
  readonly tensors: Map<string, TensorEntry>;
  readonly metadata: Map<string, string>;
}

/** The largest header that is read: that of the largest release is 0.2 MB. */
export const MAX_HEADER_BYTES = 25_000_000;
const MAX_TENSORS = 100_000;
const MAX_RANK = 16;
const LENGTH_BYTES = 8;

const DTYPES: ReadonlyMap<string, { dtype: TensorDType; bits: number }> = new Map<
  string,
  { dtype: TensorDType; bits: number }
>([
  ...storedDtypes.map((dtype) => [dtypes[dtype].stored, { dtype, bits: 8 * bytesPerElement(dtype) }] as const),
  ['F64', { dtype: 'other', bits: 64 }],
  ['I64', { dtype: 'other', bits: 64 }],
  ['U64', { dtype: 'other', bits: 64 }],
  ['C64', { dtype: 'other', bits: 64 }],
  ['U32', { dtype: 'other', bits: 32 }],
  ['I16', { dtype: 'other', bits: 16 }],
  ['U16', { dtype: 'other', bits: 16 }],
  ['I8', { dtype: 'other', bits: 8 }],
  ['BOOL', { dtype: 'other', bits: 8 }],
  ['F8_E4M3', { dtype: 'other', bits: 8 }],
  ['F8_E5M2', { dtype: 'other', bits: 8 }],
  ['F8_E8M0', { dtype: 'other', bits: 8 }],
  ['F6_E2M3', { dtype: 'other', bits: 6 }],
  ['F6_E3M2', { dtype: 'other', bits: 6 }],
  ['F4', { dtype: 'other', bits: 4 }],
]);

/** The header's length in bytes, from the first 8 bytes of a file of `fileBytes`. */
export function safetensorsHeaderBytes(start: Uint8Array, fileBytes: number, path: string): number {
  if (fileBytes < LENGTH_BYTES || start.byteLength < LENGTH_BYTES) {
    throw modelError(path, `is ${fileBytes} bytes long: a safetensors file starts with 8 bytes of length`);
  }
  const length = new DataView(start.buffer, start.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw modelError(
      path,
      `claims a header of ${length} bytes: at most ${MAX_HEADER_BYTES} are read, so this is not a safetensors file`,
    );
  }
  if (Number(length) > fileBytes - LENGTH_BYTES) {
    throw modelError(
      path,
      `claims a header of ${length} bytes, but has ${fileBytes} in total: it is truncated, or not a safetensors file`,
    );
  }
  return Number(length);
}

/**
 * Parses the header, the bytes after the length, of a file of `fileBytes`. `path` is named in errors and stored in the
 * entries.
 */
export function parseSafetensorsHeader(header: Uint8Array, fileBytes: number, path: string): SafetensorsHeader {
  const dataStart = LENGTH_BYTES + header.byteLength;
  if (header[0] !== 0x7b) throw modelError(path, "the header does not start with '{'");
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
  } catch (cause) {
    throw modelError(path, 'the header is not UTF-8', undefined, cause);
  }
  const json = parseJsonObject(text, path);

  const tensors: TensorEntry[] = [];
  let metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = parseMetadata(value, path);
    else tensors.push(parseEntry(name, value, dataStart, path));
    if (tensors.length > MAX_TENSORS) throw modelError(path, `holds more than ${MAX_TENSORS} tensors`);
  }

  // Tensors without elements take no space: they come before the one that starts at the same place.
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  for (const tensor of tensors) {
    if (tensor.offset !== end) {
      const kind =
        tensor.offset < end ? 'overlaps the one before it' : `leaves a gap of ${tensor.offset - end} bytes before it`;
      throw modelError(path, `tensor ${describeJson(tensor.name)} ${kind}`);
    }
    end += tensor.bytes;
  }
  if (end !== fileBytes) {
    throw modelError(
      path,
      `the tensors end at byte ${end}, but the file has ${fileBytes}: it is truncated, or contains something else`,
    );
  }
  return { tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])), metadata };
}

function parseEntry(name: string, value: JsonValue, dataStart: number, path: string): TensorEntry {
  const error = (reason: string) => modelError(path, `tensor ${describeJson(name)}: ${reason}`);
  if (!isJsonObject(value)) throw error(`expected an object, found ${describeJson(value)}`);
  checkKeys(value, error);
  const storedDType = value.dtype;
  const known = typeof storedDType === 'string' ? DTYPES.get(storedDType) : undefined;
  if (typeof storedDType !== 'string' || known === undefined)
    throw error(`has an unknown dtype, ${describeJson(storedDType)}`);

  const shape = value.shape;
  if (!Array.isArray(shape) || shape.length > MAX_RANK)
    throw error(`expected a shape of at most ${MAX_RANK} dimensions, found ${describeJson(shape)}`);
  const dimensions = shape.map((dimension) => {
    if (!isSize(dimension)) throw error(`expected dimensions to be integers from 0, found ${describeJson(dimension)}`);
    return dimension;
  });

  const offsets = value.data_offsets;
  if (!Array.isArray(offsets) || offsets.length !== 2)
    throw error(`expected two data_offsets, found ${describeJson(offsets)}`);
  const [begin, end] = offsets as [JsonValue, JsonValue]; // two: checked above
  if (!isSize(begin) || !isSize(end) || begin > end || end > Number.MAX_SAFE_INTEGER - dataStart) {
    throw error(
      `expected data_offsets to be increasing integers from 0, found [${describeJson(begin)}, ${describeJson(end)}]`,
    );
  }

  const bits = checkedProduct([...dimensions, known.bits]);
  if (bits === null) throw error(`has a shape too large to exist, [${dimensions.join(', ')}]`);
  if (bits !== (end - begin) * 8) {
    throw error(
      `${storedDType} [${dimensions.join(', ')}] takes ${bits / 8} bytes, but its data_offsets span ${end - begin}`,
    );
  }
  return {
    name,
    dtype: known.dtype,
    storedDType,
    shape: dimensions,
    offset: dataStart + begin,
    bytes: end - begin,
    path,
  };
}

function checkKeys(value: JsonObject, error: (reason: string) => Error): void {
  for (const key of Object.keys(value)) {
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets')
      throw error(`has an unknown key, ${describeJson(key)}`);
  }
}

function parseMetadata(value: JsonValue, path: string): Map<string, string> {
  if (!isJsonObject(value))
    throw modelError(path, `expected \`__metadata__\` to be an object, found ${describeJson(value)}`);
  return new Map(
    Object.entries(value).map(([key, text]) => {
      if (typeof text !== 'string')
        throw modelError(path, `expected \`__metadata__\` to hold strings, found ${describeJson(text)}`);
      return [key, text];
    }),
  );
}

function isSize(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** The product, or null if it is not exact. If a factor is zero, it is zero, whatever the others are. */
function checkedProduct(factors: readonly number[]): number | null {
  if (factors.includes(0)) return 0;
  let product = 1;
  for (const factor of factors) {
    product *= factor;
    if (!Number.isSafeInteger(product)) return null;
  }
  return product;
}

/** Reads and checks the header of an open file. */
export async function readSafetensors(file: NativeFile): Promise<SafetensorsHeader> {
  const start = new Uint8Array(await file.read(0, Math.min(LENGTH_BYTES, file.bytes)));
  const headerBytes = safetensorsHeaderBytes(start, file.bytes, file.path);
  const header = new Uint8Array(await file.read(LENGTH_BYTES, headerBytes));
  return parseSafetensorsHeader(header, file.bytes, file.path);
}

/** The beginning of a file: the header's length as a u64, and the header, padded with spaces to a multiple of 8 bytes. */
export function encodeHeader(header: Readonly<Record<string, unknown>>): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const bytes = Buffer.alloc(8 + 8 * Math.ceil(json.length / 8), ' ');
  bytes.writeBigUInt64LE(BigInt(bytes.length - 8));
  json.copy(bytes, 8);
  return bytes;
}
