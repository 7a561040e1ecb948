/** Embeddings of a recorded forward as the models take them: the tokens that the mask keeps, laid end to end. */

import type { Golden } from './golden.ts';

export interface TextRows {
  readonly shape: readonly [number, number]; // [T, channels]
  readonly data: readonly number[];
  readonly lengths: readonly number[]; // [B]
}

export function keptRows(hidden: Golden /* [B, n, channels] */, mask: Golden /* [B, n] */): TextRows {
  const [batch = 0, tokens = 0, channels = 0] = hidden.shape;
  const rows: number[] = [];
  const lengths = Array.from({ length: batch }, (_, b) => {
    const kept = Array.from({ length: tokens }, (_, t) => b * tokens + t).filter((row) => mask.data[row] !== 0);
    rows.push(...kept);
    return kept.length;
  });
  const data = rows.flatMap((row) => [...hidden.data.subarray(row * channels, (row + 1) * channels)]);
  return { shape: [rows.length, channels], data, lengths };
}
