/** The icon sets that pictures are drawn from, from their packages, and the styles that they represent. */

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** The name of each set's style in prompts, in the order of the picture bank. */
export const STYLES = ['fluent', 'flat', 'noto'] as const;
export type Style = (typeof STYLES)[number];

const PACKAGES: Readonly<Record<Style, string>> = {
  fluent: '@iconify-json/fluent-emoji',
  flat: '@iconify-json/fluent-emoji-flat',
  noto: '@iconify-json/noto',
};

/** An icon: the inside of an SVG, and its own view box if it differs from the set's. */
export interface Icon {
  readonly body: string;
  readonly left?: number;
  readonly top?: number;
  readonly width?: number;
  readonly height?: number;
}

export interface IconSet {
  readonly width?: number;
  readonly height?: number;
  readonly icons: Readonly<Record<string, Icon>>;
}

export async function loadIconSets(): Promise<Record<Style, IconSet>> {
  const load = (style: Style) => readJson<IconSet>(`${PACKAGES[style]}/icons.json`);
  const [fluent, flat, noto] = await Promise.all([load('fluent'), load('flat'), load('noto')]);
  return { fluent, flat, noto };
}

/** A JSON file of an installed package. */
export async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(require.resolve(path), 'utf8')) as T;
}
