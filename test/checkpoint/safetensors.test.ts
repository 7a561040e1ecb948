import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  MAX_HEADER_BYTES,
  parseSafetensorsHeader,
  readSafetensors,
  type SafetensorsHeader,
  safetensorsHeaderBytes,
} from '../../lib/checkpoint/safetensors.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, openFile, temporaryFolder } from '../support/files.ts';
import { mutate, random } from '../support/random.ts';

const encoder = new TextEncoder();

/** Parses a whole file in memory, as `readSafetensors` does one on disk. */
function parseFile(file: Uint8Array): SafetensorsHeader {
  const length = safetensorsHeaderBytes(file.subarray(0, 8), file.byteLength, 'w.safetensors');
  return parseSafetensorsHeader(file.subarray(8, 8 + length), file.byteLength, 'w.safetensors');
}

/** A file of a header and `dataBytes` of zeros. */
function file(header: string | object | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const text =
    header instanceof Uint8Array
      ? header
      : encoder.encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.byteLength + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(text.byteLength), true);
  bytes.set(text, 8);
  return bytes;
}

const f32 = (shape: readonly unknown[], begin: unknown, end: unknown, dtype: unknown = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('safetensors', () => {
  const folder = temporaryFolder();

  it('finds every tensor by its place in the file', () => {
    const header =
      '{"b":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{"format":"pt"}}  ';
    const { tensors, metadata } = parseFile(file(header, 30));
    const start = 8 + header.length;
    assert.deepEqual([...tensors.keys()], ['a', 'b']);
    assert.deepEqual(tensors.get('a'), {
      name: 'a',
      dtype: 'f32',
      storedDType: 'F32',
      shape: [2, 3],
      offset: start,
      bytes: 24,
      path: 'w.safetensors',
    });
    assert.deepEqual(tensors.get('b'), {
      name: 'b',
      dtype: 'bf16',
      storedDType: 'BF16',
      shape: [3],
      offset: start + 24,
      bytes: 6,
      path: 'w.safetensors',
    });
    assert.deepEqual([...metadata], [['format', 'pt']]);
  });

  it('reads every file of the fixtures', async () => {
    const files = readdirSync(fixture(), { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.safetensors'),
    );
    assert.ok(files.length > 30);
    for (const name of files) {
      const opened = openFile(fixture(name));
      const { tensors } = await readSafetensors(opened);
      const bytes = [...tensors.values()].reduce((sum, tensor) => sum + tensor.bytes, 0);
      assert.ok(tensors.size > 0 && bytes > 0 && bytes < opened.bytes, name);
      opened.close();
    }
  });

  it('takes empty tensors, scalars, an empty file and spaces after the header', () => {
    assert.equal(parseFile(file('{}')).tensors.size, 0);
    assert.equal(parseFile(file('{}      ')).tensors.size, 0);
    assert.deepEqual(parseFile(file({ s: f32([], 0, 4) }, 4)).tensors.get('s')?.shape, []);
    const { tensors } = parseFile(
      file({ full: f32([2], 0, 8), empty: f32([0, 2 ** 40], 8, 8), first: f32([0], 0, 0) }, 8),
    );
    assert.equal(tensors.size, 3);
  });

  it('accepts dtypes that are not weights, and reports that they are not', () => {
    const sizes = {
      I64: 8,
      U64: 8,
      F64: 8,
      C64: 8,
      I32: 4,
      U32: 4,
      F16: 2,
      I16: 2,
      U16: 2,
      I8: 1,
      U8: 1,
      BOOL: 1,
      F8_E4M3: 1,
      F8_E5M2: 1,
    };
    for (const [dtype, size] of Object.entries(sizes)) {
      const tensor = parseFile(file({ t: f32([3], 0, 3 * size, dtype) }, 3 * size)).tensors.get('t');
      assert.equal(tensor?.storedDType, dtype);
      assert.equal(tensor.dtype, { I32: 'i32', U8: 'u8', F16: 'f16' }[dtype] ?? 'other');
    }
    assert.equal(parseFile(file({ t: f32([2, 2], 0, 2, 'F4') }, 2)).tensors.get('t')?.bytes, 2);
  });

  it('names that mean something to JavaScript are names like any other', () => {
    const header =
      '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"constructor":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}';
    assert.deepEqual([...parseFile(file(header, 2)).tensors.keys()], ['__proto__', 'constructor']);
  });

  const good = f32([1], 0, 4);
  const refused: readonly (readonly [string, Uint8Array, string])[] = [
    ['an empty file', new Uint8Array(0), 'is 0 bytes long'],
    ['a file of seven bytes', new Uint8Array(7), 'is 7 bytes long'],
    ['a header of no bytes', file(''), 'does not start'],
    ['a header too large', file('{}', 0, BigInt(MAX_HEADER_BYTES + 1)), 'claims a header of 25000001 bytes'],
    ['a header of 2^63 bytes', file('{}', 0, 2n ** 63n), 'claims a header of 9223372036854775808 bytes'],
    ['a header of 2^64 - 1 bytes', file('{}', 0, 2n ** 64n - 1n), 'claims a header'],
    ['a header longer than the file', file('{}', 10, 13n), 'truncated'],
    ['a header that starts with a space', file(' {}'), "does not start with '{'"],
    ['a header that is a list', file('[]'), "does not start with '{'"],
    ['a header that is not UTF-8', file(new Uint8Array([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d])), 'not UTF-8'],
    ['a header that is not JSON', file('{"a":'), 'end of the file'],
    ['a header with something after it', file('{} {}'), 'end of the file'],
    ['a header nested deeply', file(`{"a":${'['.repeat(100_000)}`), 'nested'],
    [
      'a header of a million keys',
      file(`{${Array.from({ length: 300_000 }, (_, i) => `"${i}":[1,2,3]`).join()}}`),
      'more than 1000000 values',
    ],
    [
      'more tensors than any model has',
      file(
        `{${Array.from({ length: 100_001 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`).join()}}`,
      ),
      'more than 100000 tensors',
    ],
    [
      'a name that appears twice',
      file(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        2,
      ),
      'appears twice',
    ],
    ['metadata that appears twice', file('{"__metadata__":{},"__metadata__":{}}'), 'appears twice'],
    ['metadata that is no object', file({ __metadata__: [] }), '__metadata__'],
    ['metadata of numbers', file({ __metadata__: { a: 1 } }), 'strings'],
    ['a tensor that is no object', file({ a: 3 }), 'expected an object'],
    ['a tensor without a dtype', file({ a: { shape: [1], data_offsets: [0, 4] } }, 4), 'unknown dtype'],
    ['a tensor without a shape', file({ a: { dtype: 'F32', data_offsets: [0, 4] } }, 4), 'shape'],
    ['a tensor without offsets', file({ a: { dtype: 'F32', shape: [1] } }, 4), 'data_offsets'],
    ['a tensor with a key too many', file({ a: { ...good, extra: 1 } }, 4), 'unknown key, "extra"'],
    ['an unknown dtype', file({ a: f32([1], 0, 4, 'F33') }, 4), 'unknown dtype, "F33"'],
    ['a dtype that is a property of objects', file({ a: f32([1], 0, 4, 'constructor') }, 4), 'unknown dtype'],
    ['a dimension below zero', file({ a: f32([-1], 0, 4) }, 4), 'integers from 0'],
    ['a dimension that is a fraction', file({ a: f32([1.5], 0, 6) }, 6), 'integers from 0'],
    ['a dimension that is text', file({ a: f32(['1'], 0, 4) }, 4), 'integers from 0'],
    [
      'a dimension above 2^53',
      file('{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4),
      'integers from 0',
    ],
    [
      'a dimension that is infinite',
      file('{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}', 4),
      'integers from 0',
    ],
    ['too many dimensions', file({ a: f32(Array(17).fill(1), 0, 4) }, 4), 'at most 16'],
    ['a shape whose product overflows 64 bits', file({ a: f32([2 ** 32, 2 ** 32], 0, 0) }), 'too large to exist'],
    [
      'a shape whose product overflows to the right size',
      file({ a: f32([2 ** 31, 2 ** 31, 4, 1], 0, 0) }),
      'too large to exist',
    ],
    ['a shape whose bits overflow', file({ a: f32([2 ** 50], 0, 4) }, 4), 'too large to exist'],
    ['offsets below zero', file({ a: f32([1], -4, 0) }, 4), 'increasing integers from 0'],
    ['offsets that are fractions', file({ a: f32([1], 0.5, 4.5) }, 4), 'increasing integers from 0'],
    [
      'offsets above 2^53',
      file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[9007199254740992,9007199254740996]}}', 4),
      'increasing integers from 0',
    ],
    ['offsets at the edge of 2^53', file({ a: f32([1], 2 ** 53 - 5, 2 ** 53 - 1) }, 4), 'increasing integers from 0'],
    ['offsets that fall', file({ a: f32([1], 4, 0) }, 4), 'increasing integers from 0'],
    ['three offsets', file({ a: { ...good, data_offsets: [0, 4, 8] } }, 4), 'two data_offsets'],
    [
      'offsets that span less than the shape',
      file({ a: f32([2], 0, 4) }, 4),
      'takes 8 bytes, but its data_offsets span 4',
    ],
    ['offsets that span more than the shape', file({ a: f32([1], 0, 8) }, 8), 'span 8'],
    ['half bytes', file({ a: f32([1], 0, 1, 'F4') }, 1), 'span 1'],
    ['tensors that overlap', file({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8), 'overlaps'],
    ['tensors in the same place', file({ a: good, b: good }, 4), 'overlaps'],
    ['a hole before the first tensor', file({ a: f32([1], 4, 8) }, 8), 'gap of 4 bytes'],
    ['a hole between tensors', file({ a: good, b: f32([1], 8, 12) }, 12), 'gap of 4 bytes'],
    ['an empty tensor in the middle of another', file({ a: f32([2], 0, 8), b: f32([0], 4, 4) }, 8), 'tensor'],
    ['an empty tensor past the end', file({ a: f32([0], 4, 4) }), 'gap'],
    ['a tensor past the end of the file', file({ a: f32([2], 0, 8) }, 4), 'but the file has'],
    ['bytes after the last tensor', file({ a: good }, 5), 'contains something else'],
    ['bytes and no tensors', file('{}', 1), 'contains something else'],
  ];
  for (const [what, bytes, part] of refused) {
    it(`rejects ${what}, naming the file`, () => {
      const start = cpuTime();
      assert.throws(() => parseFile(bytes), sanaError('ERR_SANA_MODEL', 'w.safetensors', part));
      assert.ok(cpuTime() - start < 2000);
    });
  }

  it('rejects a file that is truncated anywhere', async () => {
    const whole = readFileSync(fixture('golden', 'image_ops.safetensors'));
    const headerEnd = 8 + Number(whole.readBigUInt64LE());
    const cuts = [...Array(headerEnd).keys(), headerEnd, headerEnd + 1, whole.byteLength - 1];
    for (const cut of cuts)
      assert.throws(() => parseFile(whole.subarray(0, cut)), sanaError('ERR_SANA_MODEL'), `cut at ${cut}`);
    const path = join(folder.path, 'cut.safetensors');
    for (const cut of [0, 5, 8, 100, headerEnd, whole.byteLength - 1]) {
      writeFileSync(path, whole.subarray(0, cut));
      const opened = openFile(path);
      await assert.rejects(readSafetensors(opened), sanaError('ERR_SANA_MODEL', path));
      opened.close();
    }
  });

  it('6000 mutants of a header parse or give a typed error, fast, and never place a tensor outside the file', () => {
    const whole = readFileSync(fixture('golden', 'image_ops.safetensors'));
    const headerBytes = Number(whole.readBigUInt64LE());
    const header = new Uint8Array(whole.subarray(8, 8 + headerBytes));
    const dataBytes = whole.byteLength - 8 - headerBytes;
    const next = random(2);
    let refusals = 0;
    const start = cpuTime();
    for (let i = 0; i < 6000; i++) {
      const mutant = mutate(header, next);
      const fileBytes = 8 + mutant.byteLength + dataBytes;
      try {
        for (const tensor of parseSafetensorsHeader(mutant, fileBytes, 'mutant').tensors.values()) {
          assert.ok(tensor.offset >= 8 + mutant.byteLength && tensor.offset + tensor.bytes <= fileBytes);
        }
      } catch (error) {
        sanaError('ERR_SANA_MODEL', 'mutant')(error);
        refusals++;
      }
    }
    assert.ok(refusals > 3000 && refusals < 6000, `${refusals} refusals`);
    assert.ok(cpuTime() - start < 10_000);
  });
});
