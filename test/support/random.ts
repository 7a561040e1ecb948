/** Seeded random numbers, so that a test that fails can be run again. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0;
  }

  /** Uniform in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
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

  /** About standard normal (a sum of uniforms), as float32. */
  normal(count: number, scale = 1): Float32Array {
    return Float32Array.from({ length: count }, () => {
      let sum = 0;
      for (let i = 0; i < 6; i++) sum += this.next();
      return (sum - 3) * Math.SQRT2 * scale;
    });
  }
}
