/**
 * What training never sees, so that generalization can be distinguished from memorization.
 *
 * - Some concepts are held out from the autoencoder: it must reconstruct icons that it has never seen.
 * - Some pairs of a concept and a colour are held out from the transformer, in all styles: it must combine what it has
 *   seen separately. White is always trained: it is the background of a prompt that names none.
 */

import { COLOURS, type Colour } from './colours.ts';
import { sample, seeded } from './random.ts';

const CONCEPT_SEED = 20;
const PAIR_SEED = 21;
const HELD_OUT_CONCEPTS = 1 / 20;
const UNSEEN_COLOURS = 2; // of each concept's twelve

/** The numbers of the concepts that the autoencoder never trains on, ascending. */
export function heldOutConcepts(concepts: number): number[] {
  const all = Array.from({ length: concepts }, (_, i) => i);
  return sample(all, Math.round(concepts * HELD_OUT_CONCEPTS), seeded(CONCEPT_SEED)).sort((a, b) => a - b);
}

/** For each concept, the colours it is never trained on. */
export function unseenColours(concepts: number): Colour[][] {
  const random = seeded(PAIR_SEED);
  const named = (Object.keys(COLOURS) as Colour[]).filter((colour) => colour !== 'white');
  return Array.from({ length: concepts }, () => sample(named, UNSEEN_COLOURS, random));
}
