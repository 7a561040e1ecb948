/** The recorded outputs of the reference implementation, and the measures they are compared by. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const fixtures = join(import.meta.dirname, '..', 'fixtures');

export interface Golden {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A safetensors file read whole, without the package's own reader. */
export class GoldenFile {
  readonly metadata: Record<string, string>;
  readonly #header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
  readonly #data: Uint8Array;

  constructor(name: string) {
    const file = readFileSync(join(fixtures, 'golden', `${name}.safetensors`));
    const length = Number(file.readBigUInt64LE(0));
    const { __metadata__: metadata = {}, ...header } = JSON.parse(file.toString('utf8', 8, 8 + length));
    this.metadata = metadata;
    this.#header = header;
    this.#data = Uint8Array.from(file.subarray(8 + length)); // not a Buffer, whose slice is no copy
  }

  get names(): string[] {
    return Object.keys(this.#header);
  }

  has(name: string): boolean {
    return name in this.#header;
  }

  get(name: string): Golden {
    const entry = this.#header[name];
    assert(entry, `no golden ${name}`);
    const bytes = this.#data.slice(...entry.data_offsets);
    const words = { F32: Float32Array, I32: Int32Array, U8: Uint8Array }[entry.dtype];
    if (words) return { shape: entry.shape, data: Float32Array.from(new words(bytes.buffer)) };
    assert.equal(entry.dtype, 'BF16');
    const widened = Uint32Array.from(new Uint16Array(bytes.buffer), (bits) => bits << 16);
    return { shape: entry.shape, data: new Float32Array(widened.buffer) };
  }
}

export interface Tolerance {
  readonly maxAbs: number;
  readonly relL2: number;
}

/** Tolerances for f32, as test/fixtures/README.md derives them from the reference's own error against float64. */
export const tolerances = {
  operator: { maxAbs: 1e-5, relL2: 2e-6 }, // maxAbs times the reference's largest magnitude when above 1
  timestepEmbedding: { maxAbs: 1e-4, relL2: 1e-5 },
  gemmaAttention: { maxAbs: 5e-4, relL2: 1e-5 },
  textEncoder: { maxAbs: 5e-4, relL2: 5e-5 },
  transformerInner: { maxAbs: 5e-4, relL2: 5e-5 },
  transformer: { maxAbs: 2e-4, relL2: 5e-5 },
  decodeInner: { maxAbs: 1e-4, relL2: 3e-6 },
  decode: { maxAbs: 1e-5, relL2: 5e-6 },
  encode: { maxAbs: 5e-5, relL2: 5e-6 },
  scheduler: { maxAbs: 5e-6, relL2: 2e-6 },
  pipelineLatents: { maxAbs: 2e-3, relL2: 2e-4 },
} as const;

export function errorOf(actual: ArrayLike<number>, expected: ArrayLike<number>): Tolerance {
  assert.equal(actual.length, expected.length, 'element counts differ');
  let maxAbs = 0;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    const d = (actual[i] ?? Number.NaN) - (expected[i] ?? 0);
    if (Number.isNaN(d)) return { maxAbs: Number.NaN, relL2: Number.NaN };
    maxAbs = Math.max(maxAbs, Math.abs(d));
    difference += d * d;
    norm += (expected[i] ?? 0) ** 2;
  }
  return { maxAbs, relL2: Math.sqrt(difference / Math.max(norm, 1e-30)) };
}

export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance,
  what = '',
): void {
  const { maxAbs, relL2 } = errorOf(actual, expected);
  const message = `${what} max_abs ${maxAbs.toExponential(2)} (at most ${tolerance.maxAbs}), rel_l2 ${relL2.toExponential(2)} (at most ${tolerance.relL2})`;
  assert(maxAbs <= tolerance.maxAbs && relL2 <= tolerance.relL2, message);
}

/** The operator tolerance, scaled to the size of what is compared. */
export function operatorTolerance(expected: ArrayLike<number>): Tolerance {
  const largest = Array.from(expected).reduce((m, x) => Math.max(m, Math.abs(x)), 1);
  return { maxAbs: tolerances.operator.maxAbs * largest, relL2: tolerances.operator.relL2 };
}
