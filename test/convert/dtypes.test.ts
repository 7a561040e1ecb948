import assert from 'node:assert/strict';
import type { WeightDType } from '../../lib/checkpoint/safetensors.ts';
import { convertElements } from '../../lib/convert/dtypes.ts';
import { random } from '../support/random.ts';

const bytesOf = (values: Float32Array | Uint16Array | Uint32Array) => new Uint8Array(values.buffer as ArrayBuffer);
const convert = (values: Float32Array | Uint16Array | Uint32Array, from: WeightDType, to: WeightDType) =>
  convertElements(Uint8Array.from(bytesOf(values)), from, to);
const floats = (bytes: Uint8Array) => new Float32Array(bytes.buffer);
const halves = (bytes: Uint8Array) => new Uint16Array(bytes.buffer);
const all = Uint16Array.from({ length: 1 << 16 }, (_, i) => i);

/** Every finite number of a 16-bit type that is not below zero, in order; so are their bits. */
const numbers = (type: 'bf16' | 'f16') =>
  [...floats(convert(all.subarray(0, 0x8000).slice(), type, 'f32').bytes)].filter(Number.isFinite);

describe('element types', () => {
  for (const type of ['bf16', 'f16'] as const) {
    it(`every ${type} survives f32`, () => {
      const back = halves(convert(floats(convert(all, type, 'f32').bytes), 'f32', type).bytes);
      for (const half of all) {
        const bits = back[half] ?? 0;
        const nan = (value: number) => (value & 0x7fff) > (type === 'bf16' ? 0x7f80 : 0x7c00);
        if (nan(half)) assert.ok(nan(bits), String(half));
        else assert.equal(bits, half);
      }
    });

    it(`f32 becomes the nearest ${type}, and the even one of two`, () => {
      const sorted = numbers(type);
      const next = random(3);
      for (let i = 0; i + 1 < sorted.length; i += 1 + Math.floor(next() * 3)) {
        const [low = 0, high = 0] = [sorted[i], sorted[i + 1]];
        const middle = low + (high - low) / 2; // exact in f32: at least one bit more
        const inside = Math.fround(low + (high - low) * next());
        const nearer = Math.abs(inside - low) < Math.abs(high - inside) ? i : i + 1;
        const even = i % 2 === 0 ? i : i + 1;
        const above = new Float32Array(
          new Uint32Array([(new Uint32Array(new Float32Array([middle]).buffer)[0] ?? 0) + 1]).buffer,
        );
        const given = new Float32Array([
          low,
          high,
          middle,
          above[0] ?? 0,
          -low,
          -middle,
          ...(inside === middle ? [] : [inside]),
        ]);
        const expected = [i, i + 1, even, i + 1, i | 0x8000, even | 0x8000, ...(inside === middle ? [] : [nearer])];
        assert.deepEqual([...halves(convert(given, 'f32', type).bytes)], expected, `between ${low} and ${high}`);
      }
    });
  }

  it('f16 and bf16 become each other through f32', () => {
    const ones = new Uint16Array([0x3c00, 0xbc00, 0x3e00, 0x0000, 0x8000]); // 1, -1, 1.5, 0, -0 in f16
    const there = halves(convert(ones, 'f16', 'bf16').bytes);
    assert.deepEqual([...there], [0x3f80, 0xbf80, 0x3fc0, 0x0000, 0x8000]);
    assert.deepEqual([...halves(convert(there, 'bf16', 'f16').bytes)], [...ones]);
  });

  it('counts the numbers that are too large, and not those that were infinite before', () => {
    const given = new Float32Array([65504, 65519.99, 65520, -1e30, Number.POSITIVE_INFINITY, Number.NaN, 3.4e38]);
    const { bytes, overflows } = convert(given, 'f32', 'f16');
    assert.equal(overflows, 3);
    assert.deepEqual([...halves(bytes)], [0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x7c00, 0x7e00, 0x7c00]);
    assert.equal(convert(given, 'f32', 'bf16').overflows, 1);
    assert.equal(convert(new Uint16Array([0x7c00, 0xfc00]), 'f16', 'bf16').overflows, 0);
  });

  it('leaves bytes as they are if nothing changes', () => {
    const given = Uint8Array.from([1, 2, 3, 4]);
    assert.equal(convertElements(given, 'bf16', 'bf16').bytes, given);
  });
});
