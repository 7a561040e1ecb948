/**
 * Which files hold a component's weights.
 *
 * A variant goes before the last extension: `model.safetensors` -> `model.fp16.safetensors`,
 * `model.safetensors.index.json` -> `model.safetensors.index.fp16.json`. The shards' own names come from the index:
 * `model.fp16-00001-of-00002.safetensors`, in older folders `model-00001-of-00002.fp16.safetensors`.
 */

import { join } from 'node:path';
import { SanaError } from '../base/errors.ts';
import { describeJson, isJsonObject, type JsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';

export interface WeightFiles {
  readonly variant: string | null;
  readonly names: readonly string[]; // inside the component's folder
  readonly index: { readonly file: string; readonly fileOf: ReadonlyMap<string, string> } | null; // file by tensor
}

/** A folder as far as its weight files are concerned: on disk, or in a repository that is yet to be downloaded. */
export interface FolderView {
  /** Its name in messages. */
  readonly path: string;
  /** Not null if a file of that name exists. */
  find(name: string): Promise<string | null>;
  readJson(name: string): Promise<JsonObject | null>;
  list(name: string): Promise<readonly { readonly name: string }[]>;
}

const VARIANT = /^[A-Za-z0-9_]{1,32}$/;
// Plain names only: no folder, drive, stream, escape or hidden file can be written with these characters.
const SHARD = /^[A-Za-z0-9][A-Za-z0-9._-]{0,200}\.safetensors$/;
const MAX_SHARDS = 1000;
const MAX_TENSORS = 100_000;

/**
 * Finds the files of `component`, whose names start with `stem`. A requested variant takes precedence over the
 * unsuffixed files, and a single file over an index. If no variant is requested and only one exists, that one is used.
 */
export async function findWeightFiles(
  folder: FolderView,
  component: string,
  stem: string,
  variant: string | undefined,
): Promise<WeightFiles> {
  if (variant !== undefined && !VARIANT.test(variant)) {
    throw new SanaError(
      'ERR_SANA_ARGUMENT',
      `Expected \`variant\` to be a word such as fp16 or bf16, got ${JSON.stringify(variant)}`,
      {
        hint: 'A variant is the part of the file names before .safetensors.',
      },
    );
  }
  const there = await variantsThere(folder, component, stem);
  const wanted: (string | null)[] = variant === undefined ? [null] : [variant, null];
  const [only] = there;
  if (variant === undefined && there.size === 1 && only !== undefined) wanted.push(only);

  const tried: string[] = [];
  for (const candidate of wanted) {
    const suffix = candidate === null ? '' : `.${candidate}`;
    const single = `${stem}${suffix}.safetensors`;
    if ((await folder.find(join(component, single))) !== null)
      return { variant: candidate, names: [single], index: null };
    const index = `${stem}.safetensors.index${suffix}.json`;
    const json = await folder.readJson(join(component, index));
    if (json !== null) {
      const file = join(folder.path, component, index);
      const fileOf = parseWeightIndex(json, file);
      return { variant: candidate, names: [...new Set(fileOf.values())].sort(), index: { file, fileOf } };
    }
    tried.push(single, index);
  }
  const choose = there.size > 0 ? ` There are variants: ${[...there].sort().join(', ')}.` : '';
  throw modelError(
    join(folder.path, component),
    `holds no weights that fit: tried ${tried.join(', ')}.${choose}`,
    there.size > 0
      ? 'Pass one of them as `variant`.'
      : 'Download the missing files. .bin weights are unsupported; .pth weights must be converted with `sana-native convert`.',
  );
}

/** The variants that have a single file or an index. */
async function variantsThere(folder: FolderView, component: string, stem: string): Promise<Set<string>> {
  const variants = new Set<string>();
  for (const { name } of await folder.list(component)) {
    const rest = name.startsWith(`${stem}.`) ? name.slice(stem.length + 1) : '';
    const match = /^(\w+)\.safetensors$/.exec(rest) ?? /^safetensors\.index\.(\w+)\.json$/.exec(rest);
    if (match?.[1] !== undefined) variants.add(match[1]);
  }
  return variants;
}

/** `{ "weight_map": { tensor: file } }` as a map, every file a plain name. */
export function parseWeightIndex(json: JsonObject, file: string): Map<string, string> {
  const map = json.weight_map;
  if (!isJsonObject(map)) throw modelError(file, `expected \`weight_map\` to be an object, found ${describeJson(map)}`);
  const fileOf = new Map<string, string>();
  for (const [tensor, name] of Object.entries(map)) {
    if (typeof name !== 'string' || !SHARD.test(name)) {
      throw modelError(
        file,
        `expected \`weight_map\` to name a .safetensors file of this folder, found ${describeJson(name)}`,
      );
    }
    fileOf.set(tensor, name);
  }
  const shards = new Set(fileOf.values()).size;
  if (shards === 0) throw modelError(file, '`weight_map` is empty');
  if (shards > MAX_SHARDS || fileOf.size > MAX_TENSORS) {
    throw modelError(file, `\`weight_map\` names ${fileOf.size} tensors in ${shards} files: too many`);
  }
  return fileOf;
}
