/** A plain reader of the safetensors format by its own rules, for tests: it shares nothing with the code under test. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

export interface StoredTensor {
  readonly file: string;
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Every tensor of a folder's files, and that names do not occur twice. */
export function readComponent(folder: string): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.safetensors'))) {
    for (const [name, tensor] of readSafetensors(join(folder, file))) {
      assert.ok(!tensors.has(name), name);
      tensors.set(name, tensor);
    }
  }
  return tensors;
}

/** The tensors of one file in their order: they follow each other without holes from the table to the end. */
export function readSafetensors(path: string): Map<string, StoredTensor> {
  const bytes = readFileSync(path);
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const { __metadata__: _, ...table } = JSON.parse(bytes.subarray(8, start).toString('utf8'));
  const tensors = new Map<string, StoredTensor>();
  let end = 0;
  for (const [name, entry] of Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(
    table,
  )) {
    const { dtype, shape, data_offsets: offsets } = entry;
    assert.equal(offsets[0], end, name);
    end = offsets[1];
    const count = shape.reduce((product, size) => product * size, 1);
    const size = elementBytes.get(dtype) ?? Number.NaN;
    assert.equal(end - offsets[0], count * size, name);
    const values = Array.from({ length: count }, (_, i) => readValue(bytes, start + offsets[0] + size * i, dtype));
    tensors.set(name, { file: basename(path), shape, values });
  }
  assert.equal(start + end, bytes.length);
  return tensors;
}

const elementBytes = new Map([
  ['F32', 4],
  ['F16', 2],
  ['BF16', 2],
  ['I32', 4],
  ['U8', 1],
]);

function readValue(bytes: Buffer, at: number, dtype: string): number {
  if (dtype === 'F32') return bytes.readFloatLE(at);
  if (dtype === 'I32') return bytes.readInt32LE(at);
  if (dtype === 'U8') return bytes.readUInt8(at);
  const bits = bytes.readUInt16LE(at);
  if (dtype === 'BF16') {
    const word = Buffer.alloc(4);
    word.writeUInt16LE(bits, 2);
    return word.readFloatLE();
  }
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
