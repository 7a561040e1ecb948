/** Judges a drawn picture: which background, which icon, and how close to the true picture. */

import type { Bank } from '../pictures/bank.ts';

/** What a prompt describes, as indices into the bank. */
export interface Asked {
  readonly concept: number;
  readonly style: number;
  readonly colour: string;
}

export interface Verdict {
  readonly background: boolean; // of the named colours, the nearest to the picture's border is the one asked for
  readonly concept: boolean; // of all training pictures on the same background, the nearest is of the concept
  readonly style: boolean; // and of the style
  readonly decibels: number; // PSNR to the true picture, of the full range
}

const BORDER = 8; // pixels

/**
 * @param picture [3, size, size] in [-1, 1]
 * @param latent [32, 8, 8] of the picture
 * @param training latents of every icon on the requested background, [concepts * styles][2048]: it is the same in all
 *   of them, so the background does not affect which is nearest
 */
export function judge(
  bank: Bank,
  asked: Asked,
  picture: Float32Array,
  truth: Float32Array,
  latent: Float32Array,
  training: readonly Float32Array[],
): Verdict {
  const nearest = indexOfLeast(training, (other) => squaredDistance(latent, other));
  const styles = bank.index.styles.length;
  return {
    background: nearestColour(bank, picture) === asked.colour,
    concept: Math.floor(nearest / styles) === asked.concept,
    style: nearest % styles === asked.style,
    decibels: decibels(picture, truth),
  };
}

/** PSNR of values in [-1, 1]. */
export function decibels(a: Float32Array, b: Float32Array): number {
  return 10 * Math.log10((4 * a.length) / Math.max(squaredDistance(a, b), 1e-9));
}

/** The name of the colour nearest to the mean of the border. */
export function nearestColour(bank: Bank, picture: Float32Array): string {
  const { size, colours } = bank.index;
  const sum = [0, 0, 0];
  let count = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (Math.min(x, y, size - 1 - x, size - 1 - y) >= BORDER) continue;
      for (let channel = 0; channel < 3; channel++) {
        sum[channel] = (sum[channel] ?? 0) + (picture[(channel * size + y) * size + x] ?? 0);
      }
      count++;
    }
  }
  const mean = sum.map((total) => (total / count + 1) * 127.5);
  const names = Object.keys(colours);
  const distance = (name: string) =>
    (colours[name] ?? []).reduce((total, byte, channel) => total + (byte - (mean[channel] ?? 0)) ** 2, 0);
  return names[indexOfLeast(names, distance)] ?? '';
}

export function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
  return sum;
}

function indexOfLeast<T>(items: readonly T[], measure: (item: T) => number): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const [i, item] of items.entries()) {
    const value = measure(item);
    if (value < least) [best, least] = [i, value];
  }
  return best;
}
