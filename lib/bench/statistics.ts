/** Statistics of repeated and of alternating runs. */

import { argumentError } from '../base/errors.ts';
import type { BenchmarkRecord, Pairing } from './schema.ts';

/** The `p`-quantile (0 to 1) of `values`, by linear interpolation between neighbours. */
export function quantile(values: readonly number[], p: number): number {
  if (values.length === 0 || !values.every(Number.isFinite)) {
    throw argumentError('values', 'one or more finite numbers', values);
  }
  if (!(p >= 0 && p <= 1)) throw argumentError('p', 'a number from 0 to 1', p);
  const sorted = [...values].sort((a, b) => a - b);
  const position = p * (sorted.length - 1);
  const below = sorted[Math.floor(position)] as number; // both indices are within the list: p is
  const above = sorted[Math.ceil(position)] as number;
  return below + (above - below) * (position - Math.floor(position));
}

export function summarize(ms: readonly number[]): BenchmarkRecord['ms'] {
  return { median: quantile(ms, 0.5), min: quantile(ms, 0), p90: quantile(ms, 0.9) };
}

/**
 * Compares series of runs that alternated: ratio = median(a_i / b_i), with its spread. Each pair ran back to back, so
 * anything that slows down the whole machine cancels out; dividing two medians would not do that.
 */
export function pairRatios(a: readonly number[], b: readonly number[]): Omit<Pairing, 'with'> {
  if (a.length !== b.length) throw argumentError('b', `as many runs as the other series, ${a.length}`, b);
  if (!b.every((value) => value > 0)) throw argumentError('b', 'times above zero', b);
  const ratios = a.map((value, i) => value / (b[i] as number)); // of equal length
  return { ratio: quantile(ratios, 0.5), ratio_p10: quantile(ratios, 0.1), ratio_p90: quantile(ratios, 0.9) };
}
