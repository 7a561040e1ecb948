import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { readTensor, readTensors, type Tensor, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, openFile, temporaryFolder } from '../support/files.ts';

/** A file of one tensor with the given bytes. */
function raw(dtype: string, shape: readonly number[], bytes: Uint8Array): Uint8Array {
  const header = Buffer.from(JSON.stringify({ t: { dtype, shape, data_offsets: [0, bytes.byteLength] } }));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.byteLength));
  return Buffer.concat([length, header, bytes]);
}

describe('tensor files', () => {
  const folder = temporaryFolder();
  const tensors = new Map<string, Tensor>([
    ['tokens', { shape: [3], data: new Int32Array([1, -2, 2 ** 31 - 1]) }],
    ['image', { shape: [1, 1, 5], data: new Uint8Array([0, 1, 127, 128, 255]) }],
    ['latents', { shape: [2, 2], data: new Float32Array([1.5, -0, Number.NaN, Number.POSITIVE_INFINITY]) }],
    ['scalar', { shape: [], data: new Float32Array([7]) }],
    ['empty', { shape: [0, 4], data: new Float32Array(0) }],
    ['__proto__', { shape: [1], data: new Uint8Array([9]) }],
  ]);

  it('what is written is read back, metadata too', async () => {
    const path = join(folder.path, 'out.safetensors');
    await writeSafetensors(
      path,
      tensors,
      new Map([
        ['seed', '42'],
        ['__proto__', 'x'],
      ]),
    );
    const read = await readTensors(path, openFile);
    assert.deepEqual(new Map([...read].sort()), new Map([...tensors].sort()));
    const file = openFile(path);
    const header = await readSafetensors(file);
    file.close();
    assert.deepEqual(
      header.metadata,
      new Map([
        ['seed', '42'],
        ['__proto__', 'x'],
      ]),
    );
    for (const { offset, shape, dtype } of header.tensors.values()) {
      if (dtype === 'f32') assert.equal(offset % 4, 0, `[${shape.join()}]`);
    }
  });

  it('writing replaces a file atomically and leaves no other files behind', async () => {
    const path = join(folder.path, 'replaced.safetensors');
    writeFileSync(path, 'old');
    await writeSafetensors(path, new Map([['a', { shape: [1], data: new Uint8Array([3]) }]]));
    assert.deepEqual((await readTensor(path, 'a', openFile)).data, new Uint8Array([3]));
    const before = readFileSync(path);
    const wrong = new Map([['a', { shape: [2], data: new Uint8Array([3]) }]]);
    await assert.rejects(writeSafetensors(path, wrong), sanaError('ERR_SANA_ARGUMENT', "'a'", '2 elements'));
    assert.deepEqual(readFileSync(path), before);
    await assert.rejects(
      writeSafetensors(join(folder.path, 'no', 'x.safetensors'), tensors),
      sanaError('ERR_SANA_FILE', 'cannot be written'),
    );
    assert.deepEqual(
      readdirSync(folder.path).filter((name) => name.endsWith('.tmp')),
      [],
    );
  });

  it('bf16 and f16 are widened to exactly the same numbers', async () => {
    const path = join(folder.path, 'half.safetensors');
    writeFileSync(path, raw('BF16', [4], new Uint8Array(new Uint16Array([0x3fc0, 0xc000, 0x7f80, 0x0001]).buffer)));
    assert.deepEqual(
      (await readTensor(path, 't', openFile)).data,
      new Float32Array([1.5, -2, Number.POSITIVE_INFINITY, 2 ** -133]),
    );
    writeFileSync(
      path,
      raw('F16', [7], new Uint8Array(new Uint16Array([0x3e00, 0xc000, 0x7bff, 0x0001, 0x8000, 0xfc00, 0x7e00]).buffer)),
    );
    const expected = new Float32Array([1.5, -2, 65504, 2 ** -24, -0, Number.NEGATIVE_INFINITY, Number.NaN]);
    assert.deepEqual((await readTensor(path, 't', openFile)).data, expected);
  });

  it('lists the existing tensors if the requested one is missing', async () => {
    const path = fixture('golden', 'image_ops.safetensors');
    await assert.rejects(
      readTensor(path, 'latents', openFile),
      sanaError('ERR_SANA_MODEL', path, '"latents"', 'u8.in'),
    );
  });

  it('rejects unsupported dtypes', async () => {
    const path = join(folder.path, 'i64.safetensors');
    writeFileSync(path, raw('I64', [1], new Uint8Array(8)));
    await assert.rejects(readTensor(path, 't', openFile), sanaError('ERR_SANA_MODEL', 'I64'));
  });
});
