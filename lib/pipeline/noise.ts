/**
 * The normal noise that `torch.randn` draws from a CPU generator, so that a seed gives the same picture everywhere.
 *
 * MT19937 gives 32-bit words, their low 24 bits uniforms u = word / 2^24. Blocks of 16 become normals by Box-Muller,
 * element i pairing with i + 8:
 *
 *     r = sqrt(-2 ln(1 - u_i)),  angle = 2 pi u_(i+8),  x_i = r cos(angle),  x_(i+8) = r sin(angle)
 *
 * An incomplete last block is drawn again as the last 16 elements, so it overlaps the block before it. Fewer than 16
 * elements are drawn one by one from 53-bit uniforms: first the cosine, then the sine, which is kept for the next one.
 *
 * Source: Matsumoto and Nishimura, "Mersenne Twister" (1998); the rest is how torch does it.
 */

import { argumentError } from '../base/errors.ts';

const WORDS = 624;
const SHIFT = 397;
const BLOCK = 16;
const HALF = BLOCK / 2;
const UNIFORM_24 = 2 ** -24;
const UNIFORM_53 = 2 ** -53;
const MAX_COUNT = 2 ** 30;
const PAUSE = 65536; // elements between turns of the event loop: about 3 ms

/** A Mersenne Twister with the seeding of torch's CPU generator. */
export class TorchGenerator {
  readonly #state = new Uint32Array(WORDS);
  #at = WORDS;
  #spare: number | null = null; // the second of a pair drawn alone

  /** `seed` may be any integer of 64 bits, signed or not; the generator uses its low 32 bits. */
  constructor(seed: number | bigint) {
    const valid = typeof seed === 'bigint' ? seed >= -(2n ** 63n) && seed < 2n ** 64n : Number.isSafeInteger(seed);
    if (!valid) throw argumentError('seed', 'an integer of at most 64 bits', seed);
    this.#state[0] = Number(BigInt.asUintN(32, BigInt(seed)));
    for (let i = 1; i < WORDS; i++) {
      const before = this.#word(i - 1);
      this.#state[i] = Math.imul(before ^ (before >>> 30), 1812433253) + i;
    }
  }

  /** Fills `out` with normals of mean 0 and deviation 1: one draw of `out.length` elements. */
  normal(out: Float32Array): void {
    for (const _ of this.#fill(out, Number.POSITIVE_INFINITY));
  }

  /** `count` normals, drawn without blocking the event loop for more than a few milliseconds. */
  async draw(count: number, signal?: AbortSignal): Promise<Float32Array> {
    checkCount(count);
    const out = new Float32Array(count);
    for (const _ of this.#fill(out, PAUSE)) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    }
    return out;
  }

  /** Pauses after every `pause` elements, a multiple of 16. */
  *#fill(out: Float32Array, pause: number): Generator<void> {
    if (out.length < BLOCK) {
      for (let i = 0; i < out.length; i++) out[i] = this.#single();
      return;
    }
    const full = out.length - (out.length % BLOCK);
    // torch draws all uniforms before it computes the first normal; the difference only matters for the last block.
    for (let at = 0; at < out.length; at += BLOCK) {
      this.#uniforms(out, at, Math.min(at + BLOCK, out.length));
      if (at + BLOCK <= full) boxMuller(out, at);
      if ((at + BLOCK) % pause === 0) yield;
    }
    if (full < out.length) {
      this.#uniforms(out, out.length - BLOCK, out.length);
      boxMuller(out, out.length - BLOCK);
    }
  }

  #uniforms(out: Float32Array, from: number, to: number): void {
    for (let i = from; i < to; i++) out[i] = (this.#next() & 0xffffff) * UNIFORM_24;
  }

  #single(): number {
    if (this.#spare !== null) {
      const spare = this.#spare;
      this.#spare = null;
      return spare;
    }
    const u1 = this.#uniform53();
    const u2 = this.#uniform53();
    const r = Math.sqrt(-2 * Math.log1p(-u2));
    const angle = 2 * Math.PI * u1;
    this.#spare = r * Math.sin(angle);
    return r * Math.cos(angle);
  }

  #uniform53(): number {
    const high = this.#next();
    const low = this.#next();
    return ((high & 0x1fffff) * 2 ** 32 + low) * UNIFORM_53;
  }

  #next(): number {
    if (this.#at === WORDS) this.#advance();
    let y = this.#word(this.#at++);
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  #advance(): void {
    for (let i = 0; i < WORDS; i++) {
      const mixed = (this.#word(i) & 0x80000000) | (this.#word((i + 1) % WORDS) & 0x7fffffff);
      this.#state[i] = this.#word((i + SHIFT) % WORDS) ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.#at = 0;
  }

  #word(i: number): number {
    return this.#state[i] as number; // i < WORDS
  }
}

/** Turns the 16 uniforms from `at` on into normals, in f32 like the reference. */
function boxMuller(values: Float32Array, at: number): void {
  for (let i = at; i < at + HALF; i++) {
    const u1 = Math.fround(1 - (values[i] as number)); // at + 16 <= length
    const u2 = values[i + HALF] as number;
    const r = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(u1)))));
    const angle = Math.fround(Math.fround(2 * Math.PI) * u2);
    values[i] = r * Math.cos(angle);
    values[i + HALF] = r * Math.sin(angle);
  }
}

function checkCount(count: number): void {
  if (!Number.isInteger(count) || count < 0 || count > MAX_COUNT) {
    throw argumentError('count', `an integer from 0 to ${MAX_COUNT}`, count);
  }
}

/** `torch.randn(count, generator=torch.Generator('cpu').manual_seed(seed))`. */
export function torchRandn(seed: number | bigint, count: number): Float32Array {
  checkCount(count);
  const out = new Float32Array(count);
  new TorchGenerator(seed).normal(out);
  return out;
}
