/**
 * Which of a picture's captions training reads, by how well each fits the picture (its CLIP score, a cosine times 100).
 *
 * Two rules, which look similar and differ a lot. Scores of 25, 28 and 30 at a temperature of 0.1:
 *
 * - `softmax`, the paper's: `P_i = exp(s_i / t) / sum_j exp(s_j / t)`. The best is selected: 2e-22, 2e-9, 1.
 * - `power`, what the released models were trained with: captions below a threshold are left out, and of the rest
 *   `P_i = s_i^(1/t) / sum_j s_j^(1/t)`. All have a chance: 0.10, 0.30, 0.60.
 *
 * With either, a temperature towards 0 selects the best caption and a high one any caption.
 */

import { readFile } from 'node:fs/promises';
import type { Random } from './random.ts';

export interface Candidate {
  readonly text: string;
  readonly type: string; // 'prompt' is the one to fall back on
  readonly score?: number; // absent counts as 0
}

export interface SelectionOptions {
  /** Defaults to `power`. */
  readonly mode?: 'power' | 'softmax';
  /** For `power`: the lowest score that is considered; defaults to 25. */
  readonly threshold?: number;
  /** Above 0; `power` uses at least 0.01. Defaults to 0.1. */
  readonly temperature?: number;
}

const LEAST_TEMPERATURE = 0.01;

/** The chance of each candidate; they sum to 1. */
export function captionProbabilities(candidates: readonly Candidate[], options: SelectionOptions = {}): number[] {
  const { mode = 'power', threshold = 25, temperature = 0.1 } = options;
  if (candidates.length === 0) throw new RangeError('Expected at least one caption, got none');
  if (!(temperature > 0)) throw new RangeError(`Expected \`temperature\` to be above 0, got ${temperature}`);
  const scores = candidates.map(({ score = 0 }) => score);
  // In logarithms, because 30^100 and exp(30 / 0.01) leave the range of numbers.
  if (mode === 'softmax') return normalised(scores.map((score) => score / temperature));
  const taking = scores.map((score) => score >= threshold && score > 0);
  if (!taking.includes(true)) return only(fallback(candidates), candidates.length);
  const exponent = 1 / Math.max(temperature, LEAST_TEMPERATURE);
  return normalised(scores.map((score, i) => (taking[i] ? Math.log(score) * exponent : Number.NEGATIVE_INFINITY)));
}

/** The index of the caption to read this time. */
export function selectCaption(
  candidates: readonly Candidate[],
  random: Random,
  options: SelectionOptions = {},
): number {
  let left = random();
  const probabilities = captionProbabilities(candidates, options);
  for (const [i, probability] of probabilities.entries()) {
    left -= probability;
    if (left < 0) return i;
  }
  return probabilities.indexOf(Math.max(...probabilities)); // where rounding left a rest
}

/**
 * The captions of a set of pictures with their scores, from files in the official layout: `{ key: { type: text } }` in
 * `<base><suffix>.json` for each describer, and the like with scores in `<base><suffix>_clip_score.json`; the describer
 * without a suffix, the original prompts, has its scores in `<base>_prompt_clip_score.json`. A text that is null is
 * empty; files of scores and scores in them may be missing.
 */
export async function readCandidates(base: string, suffixes: readonly string[]): Promise<Map<string, Candidate[]>> {
  const pictures = new Map<string, Candidate[]>();
  for (const suffix of suffixes) {
    const texts = await readTable<string | null>(`${base}${suffix}.json`);
    const scores = await readTable<number>(`${base}${suffix || '_prompt'}_clip_score.json`).catch(missing);
    for (const [key, captions] of Object.entries(texts)) {
      const candidates = pictures.get(key) ?? [];
      pictures.set(key, candidates);
      for (const [type, text] of Object.entries(captions)) {
        const score = scores[key]?.[type];
        candidates.push({ text: text ?? '', type, ...(score !== undefined && { score }) });
      }
    }
  }
  return pictures;
}

type Table<T> = Readonly<Record<string, Readonly<Record<string, T>>>>;

async function readTable<T>(file: string): Promise<Table<T>> {
  return JSON.parse(await readFile(file, 'utf8')) as Table<T>;
}

function missing(error: NodeJS.ErrnoException): Table<number> {
  if (error.code === 'ENOENT') return {};
  throw error;
}

/** The best of the candidates that have a score, or else the prompt. */
function fallback(candidates: readonly Candidate[]): number {
  const best = Math.max(...candidates.map(({ score = 0 }) => score));
  if (best > 0) return candidates.findIndex(({ score }) => score === best);
  return Math.max(
    0,
    candidates.findIndex(({ type }) => type === 'prompt'),
  );
}

function only(index: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => (i === index ? 1 : 0));
}

/** `exp(x_i) / sum exp(x_j)`. */
function normalised(logarithms: readonly number[]): number[] {
  const highest = Math.max(...logarithms);
  const weights = logarithms.map((x) => Math.exp(x - highest));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}
