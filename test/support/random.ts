/** Seeded randomness for tests that try many inputs: the same ones every time. */

/** mulberry32: numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The draws that tests of numbers need. */
export class Random {
  /** Uniform in [0, 1). */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = random(seed);
  }

  /** An integer from `low` to `high`, both included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.integer(0, values.length - 1)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  /** Uniform in [-scale, scale), as float32: for operands of millions of elements. */
  uniform(count: number, scale = 1): Float32Array {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = (2 * this.next() - 1) * scale;
    return values;
  }

  /** About standard normal (a sum of uniforms), as float32. */
  normal(count: number, scale = 1): Float32Array {
    return Float32Array.from({ length: count }, () => {
      let sum = 0;
      for (let i = 0; i < 6; i++) sum += this.next();
      return (sum - 3) * Math.SQRT2 * scale;
    });
  }
}

/** One to four random edits of `bytes`: bits flipped, bytes set, runs cut out, doubled or swapped for hostile text. */
export function mutate(bytes: Uint8Array, next: () => number): Uint8Array {
  let result = Uint8Array.from(bytes); // a Buffer's slice() would share memory
  const below = (limit: number) => Math.floor(next() * limit);
  for (let edits = 1 + below(4); edits > 0; edits--) {
    const at = below(result.length + 1);
    const run = below(Math.min(64, result.length - at + 1));
    const splice = (insert: Uint8Array, removed: number) => {
      result = Uint8Array.from([...result.subarray(0, at), ...insert, ...result.subarray(at + removed)]);
    };
    switch (below(6)) {
      case 0:
        if (at < result.length) result[at] = (result[at] as number) ^ (1 << below(8)); // at < length
        break;
      case 1:
        if (at < result.length) result[at] = below(256);
        break;
      case 2:
        splice(new Uint8Array(), run);
        break;
      case 3:
        splice(result.slice(at, at + run), 0);
        break;
      case 4:
        result = result.slice(0, at);
        break;
      default:
        splice(new TextEncoder().encode(HOSTILE[below(HOSTILE.length)]), below(4));
    }
  }
  return result;
}

const HOSTILE = [
  '-1',
  '0',
  '1e308',
  '9007199254740993',
  '18446744073709551616',
  'NaN',
  '-Infinity',
  'null',
  'true',
  '"32"',
  '[]',
  '{}',
  '[[[[',
  '{"":',
  '\\u0000',
  '"__proto__":',
  '"constructor":',
  '\ud800',
  '\u0000',
  '4294967296,4294967296',
  ',',
  ':',
  '"',
  ']',
  '}',
  '2.5',
];
