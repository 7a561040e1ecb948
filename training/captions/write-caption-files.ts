/** The captions of all pictures, one file per kind, and a text with all of them to train a tokenizer on. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { STYLES } from '../concepts/icon-set.ts';
import type { Concept } from '../concepts/select-concepts.ts';
import { COLOURS, type Colour } from './colours.ts';
import { seeded } from './random.ts';
import { type Captions, fits, KINDS, keyOf, writeCaptions } from './write-captions.ts';

const SEED = 22;

/** `captions<kind>.json` in the official layout, `{ key: { type: text } }`, and `corpus.txt`, one caption per line. */
export async function writeCaptionFiles(folder: string, concepts: readonly Concept[]): Promise<void> {
  const random = seeded(SEED);
  const colours = Object.keys(COLOURS) as Colour[];
  const pictures = concepts.flatMap((concept) =>
    STYLES.flatMap((style) => colours.map((colour) => ({ concept, style, colour }))),
  );
  const corpus: string[] = [];
  for (const kind of KINDS) {
    const captions: Record<string, Captions> = {};
    for (const picture of pictures.filter((candidate) => fits(kind, candidate))) {
      const written = writeCaptions(kind, picture, random);
      captions[keyOf(picture)] = written;
      corpus.push(...Object.values(written));
    }
    await writeFile(join(folder, `captions${kind}.json`), JSON.stringify(captions));
  }
  // Every keyword as well, even those that hardly any caption has.
  corpus.push(...concepts.flatMap(({ keywords }) => keywords));
  await writeFile(join(folder, 'corpus.txt'), `${corpus.join('\n')}\n`);
}
