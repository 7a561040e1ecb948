/**
 * Prepares everything that training reads: the picture bank, its index, and the captions.
 *
 *   npm run prepare-data -- [folder]     the folder defaults to .cache/training of the working directory
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { COLOURS } from './captions/colours.ts';
import { heldOutConcepts, unseenColours } from './captions/split.ts';
import { writeCaptionFiles } from './captions/write-caption-files.ts';
import { loadIconSets, readJson, STYLES } from './concepts/icon-set.ts';
import { type EmojiEntry, selectConcepts } from './concepts/select-concepts.ts';
import { PICTURE_SIZE, writeBank } from './pictures/write-bank.ts';

const folder = process.argv[2] ?? join('.cache', 'training');
await mkdir(folder, { recursive: true });

const sets = await loadIconSets();
const entries = await readJson<EmojiEntry[]>('emojibase-data/en/data.json');
const groups = await readJson<{ subgroups: Record<string, string> }>('emojibase-data/meta/groups.json');
const concepts = selectConcepts(entries, groups.subgroups, Object.values(sets));
const held = new Set(heldOutConcepts(concepts.length));
const unseen = unseenColours(concepts.length);

const index = {
  size: PICTURE_SIZE,
  styles: STYLES,
  colours: COLOURS,
  concepts: concepts.map((concept, i) => ({ ...concept, heldOut: held.has(i), unseenColours: unseen[i] })),
};
await writeFile(join(folder, 'index.json'), JSON.stringify(index));
await writeCaptionFiles(folder, concepts);
await writeBank(join(folder, 'pictures.rgba'), concepts, sets, (done) => {
  if (done % 100 === 0 || done === concepts.length) console.log(`${done} of ${concepts.length} concepts drawn`);
});
