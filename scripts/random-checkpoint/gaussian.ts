/**
 * Normally distributed weights, hundreds of millions per second, the same for the same seed everywhere.
 *
 *   value = mean + std * q(u)      u: 16 random bits, q: quantile function of the normal distribution at 65536 points
 *
 * The quantiles are scaled and rounded to the stored dtype once per (mean, std) into a table, so that drawing a value
 * is one load: no logarithm, no conversion. The bits come from a 128-bit xorshift, two values from each 32-bit word.
 * A bf16 or f16 tensor is therefore exactly its f32 twin rounded to nearest even.
 */

export type StoredDType = 'F32' | 'F16' | 'BF16';

/** Stored values: f32, or the bits of f16 and bf16. */
export type StoredArray = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

const kQuantiles = 65536;
const kHalf = kQuantiles / 2;

export const bytesPerElement: Readonly<Record<StoredDType, number>> = { F32: 4, F16: 2, BF16: 2 };

export function allocate(dtype: StoredDType, elements: number): StoredArray {
  return dtype === 'F32' ? new Float32Array(elements) : new Uint16Array(elements);
}

/** Tables of stored values by (mean, std); a model has a few dozen of them. */
export class GaussianTables {
  readonly #dtype: StoredDType;
  readonly #tables = new Map<string, StoredArray>();

  constructor(dtype: StoredDType) {
    this.#dtype = dtype;
  }

  get(mean: number, std: number): StoredArray {
    const key = `${mean} ${std}`;
    let table = this.#tables.get(key);
    if (!table) {
      table = allocate(this.#dtype, kQuantiles);
      quantiles ??= normalQuantiles();
      for (const [i, quantile] of quantiles.entries())
        table[i] = encode(Math.fround(mean + std * quantile), this.#dtype);
      this.#tables.set(key, table);
    }
    return table;
  }
}

/** The stream of one tensor's values: the same however it is split into pieces. */
export class GaussianStream {
  readonly #table: StoredArray;
  #x: number;
  #y: number;
  #z: number;
  #w: number;
  #spare = -1; // the unused half of the last word

  constructor(seed: number, name: string, table: StoredArray) {
    this.#table = table;
    // FNV-1a over the name, then one mixing round per word, so that neighbouring seeds and names share nothing.
    let hash = 0x811c9dc5;
    for (const byte of Buffer.from(`${seed}/${name}`)) hash = Math.imul(hash ^ byte, 0x01000193);
    const word = (): number => {
      hash = (hash + 0x9e3779b9) | 0;
      let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
      mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
      return mixed ^ (mixed >>> 16);
    };
    this.#x = word();
    this.#y = word();
    this.#z = word();
    this.#w = word() | 1; // xorshift must not start at all zeros
  }

  /** Writes the next `end - start` values to `target[start..end)`. */
  fill(target: StoredArray, start: number, end: number): void {
    const table = this.#table;
    let [x, y, z, w] = [this.#x, this.#y, this.#z, this.#w];
    let i = start;
    if (this.#spare >= 0 && i < end) {
      target[i++] = table[this.#spare] as number; // the index has 16 bits, the table 65536 entries
      this.#spare = -1;
    }
    while (i < end) {
      const t = x ^ (x << 11);
      x = y;
      y = z;
      z = w;
      w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
      target[i++] = table[w & 0xffff] as number;
      if (i < end) target[i++] = table[w >>> 16] as number;
      else this.#spare = w >>> 16;
    }
    [this.#x, this.#y, this.#z, this.#w] = [x, y, z, w];
  }
}

let quantiles: Float64Array | undefined;

/** The normal distribution's quantiles at (i + 1/2) / 65536, by integrating its density from 0 outwards. */
function normalQuantiles(): Float64Array {
  const table = new Float64Array(kQuantiles);
  const step = 1e-4;
  const density = (x: number): number => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
  let x = 0;
  let area = 0;
  for (let i = 0; i < kHalf; i++) {
    const goal = (i + 0.5) / kQuantiles;
    let slice = step * density(x + 0.5 * step);
    while (area + slice < goal) {
      area += slice;
      x += step;
      slice = step * density(x + 0.5 * step);
    }
    const quantile = x + (step * (goal - area)) / slice;
    table[kHalf + i] = quantile;
    table[kHalf - 1 - i] = -quantile;
  }
  return table;
}

const f32 = new Float32Array(1);
const bits = new Uint32Array(f32.buffer);

/** `value` as it is stored: itself, or the bits of the nearest f16 or bf16 (ties to even). */
function encode(value: number, dtype: StoredDType): number {
  if (dtype === 'F32') return value;
  f32[0] = value;
  const word = bits[0] as number; // the array has one entry
  if (dtype === 'BF16') return (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  const sign = (word >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (magnitude < 2 ** -14) return sign | roundHalfEven(magnitude * 2 ** 24); // subnormal, or rounds up to the least normal
  const exponent = ((word >>> 23) & 0xff) - 127;
  return sign | ((exponent + 15) * 1024 + roundHalfEven((magnitude / 2 ** exponent - 1) * 1024)); // weights stay below 65504
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
