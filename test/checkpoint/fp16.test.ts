import assert from 'node:assert/strict';
import type { Component } from '../../lib/checkpoint/checkpoint.ts';
import { wasTrainedInFp16 } from '../../lib/checkpoint/fp16.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { openFile, temporaryFolder } from '../support/files.ts';

const probe = 'transformer_blocks.0.attn1.to_out.0.weight';

/** The number that 16 bits stand for in fp16. */
function fp16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** The number that 16 bits stand for in bf16. */
function bf16(bits: number): number {
  return new Float32Array(Uint32Array.of(bits << 16).buffer)[0] ?? 0;
}

const finiteFp16 = Array.from({ length: 0x10000 }, (_, bits) => bits)
  .filter((bits) => (bits & 0x7c00) !== 0x7c00)
  .map(fp16);

describe('weights of fp16 training are recognized by their values', () => {
  const folder = temporaryFolder();

  async function told(data: Float32Array, name = probe): Promise<boolean> {
    const path = `${folder.path}/weights.safetensors`;
    await writeSafetensors(path, new Map([[name, { shape: [data.length], data }]]));
    const file = openFile(path);
    try {
      const { tensors } = await readSafetensors(file);
      return await wasTrainedInFp16({ tensors, file: () => file } as unknown as Component<unknown>);
    } finally {
      file.close();
    }
  }
  /** Among others that do not tell fp16 from bf16. */
  const amongFp16 = (...values: number[]) => told(Float32Array.of(fp16(0x3c01), 1, -2, ...values));

  it('every finite fp16 number is one: zeros, subnormals and the largest', async () => {
    assert.equal(await told(Float32Array.from(finiteFp16)), true);
    for (const value of [0, -0, 2 ** -24, 3 * 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 65504, -65504]) {
      assert.equal(await amongFp16(value), true, String(value));
    }
  });

  it('f32 numbers between two of them are none, nor are those beyond them', async () => {
    const others = [
      1 + 2 ** -11, // half a unit in the last place
      1 + 2 ** -23,
      2 ** -25,
      1.5 * 2 ** -24, // subnormals keep no fraction of the least one
      1023.5 * 2 ** -24,
      2 ** -14 + 2 ** -25,
      65504 + 16,
      65536,
      -1e9,
      2 ** -126,
      2 ** -149, // a subnormal of f32
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ];
    for (const value of others) assert.equal(await amongFp16(value), false, String(value));
  });

  it('an f32 next to an fp16 number is none, on either side', async () => {
    for (let bits = 1; bits < 0x7c00; bits += 97) {
      const [word = 0] = new Uint32Array(Float32Array.of(fp16(bits)).buffer);
      for (const next of [word - 1, word + 1]) {
        const [value = 0] = new Float32Array(Uint32Array.of(next).buffer);
        assert.equal(await amongFp16(value), false, `0x${bits.toString(16)}: ${value}`);
      }
    }
  });

  it('bf16 numbers are not taken for fp16 ones, even where they are both', async () => {
    const both = Array.from({ length: 0x80 }, (_, fraction) => bf16(0x3f80 | fraction));
    assert.ok(both.every((value) => finiteFp16.includes(value)));
    assert.equal(await told(Float32Array.from(both)), false);
    assert.equal(await told(Float32Array.from({ length: 500 }, (_, i) => bf16(0x2000 + 16 * i))), false);
    assert.equal(await told(new Float32Array(8)), false); // zeros tell nothing
  });

  it('f32 numbers of f32 training are none', async () => {
    assert.equal(await told(Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i))), false);
  });

  it('a checkpoint without the tensor that is looked at is not clipped', async () => {
    assert.equal(await told(Float32Array.from(finiteFp16), 'other'), false);
  });
});
