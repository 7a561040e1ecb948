/** `vocabulary.json`, an optional file of a checkpoint folder: the words of a small model. */

import { join } from 'node:path';
import type { JsonObject } from '../base/json.ts';
import { modelFolder } from './built-in.ts';
import { ConfigReader } from './config-reader.ts';
import { ModelFolder } from './model-folder.ts';

/** What a model can be asked to draw, in the words of its prompts. */
export interface Vocabulary {
  readonly subjects: readonly string[]; // 'smiling cat with heart eyes'
  readonly styles: readonly string[];
  readonly backgrounds: readonly string[];
}

const FILE = 'vocabulary.json';
const MAX_WORDS = 100_000;

export function parseVocabulary(json: JsonObject, file: string): Vocabulary {
  const read = new ConfigReader(json, file);
  const list = (key: string) =>
    read.list(key, { min: 0, max: MAX_WORDS, fallback: [] }, (items, i) => items.string(i, ''));
  return { subjects: list('subjects'), styles: list('styles'), backgrounds: list('backgrounds') };
}

/** The vocabulary of a checkpoint folder, or undefined if it has none. Reads no weights. */
export async function readVocabulary(model: string): Promise<Vocabulary | undefined> {
  const folder = await ModelFolder.open(modelFolder(model));
  const json = await folder.readJson(FILE);
  return json === null ? undefined : parseVocabulary(json, join(folder.path, FILE));
}
