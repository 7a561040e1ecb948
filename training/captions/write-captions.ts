/**
 * The captions of a picture: several wordings, from the concept's name and keywords and from what the renderer knows,
 * its style and its background colour.
 *
 * They take the place of the paper's several captioning models, and their quality also varies: a keyword alone may
 * match half the concepts. Scores decide (`select-caption.ts`). A caption without a colour is only for white and one
 * without a style only for fluent, so that a prompt that leaves them out has one meaning.
 */

import type { Style } from '../concepts/icon-set.ts';
import type { Concept } from '../concepts/select-concepts.ts';
import type { Colour } from './colours.ts';
import { type Random, sample } from './random.ts';

/** What a caption mentions in addition to the concept; each kind has its own files. */
export const KINDS = ['', '_no_colour', '_no_style', '_bare'] as const;
export type Kind = (typeof KINDS)[number];

export interface Picture {
  readonly concept: Concept;
  readonly style: Style;
  readonly colour: Colour;
}

/** `{ type: text }`, the entry of one picture in a captions file. */
export type Captions = Readonly<Record<string, string>>;

/** The name of a picture in captions files. */
export function keyOf({ concept, style, colour }: Picture): string {
  return `${concept.slug}.${style}.${colour}`;
}

/** Whether captions of this kind describe the picture. */
export function fits(kind: Kind, { style, colour }: Picture): boolean {
  const silentOnColour = kind === '_no_colour' || kind === '_bare';
  const silentOnStyle = kind === '_no_style' || kind === '_bare';
  return (!silentOnColour || colour === 'white') && (!silentOnStyle || style === 'fluent');
}

export function writeCaptions(kind: Kind, picture: Picture, random: Random): Captions {
  const { concept, style, colour } = picture;
  const say = (thing: string) => {
    const named = random() < 0.7 ? withArticle(thing) : thing;
    const wordings = WORDINGS[kind](thing, named, style, colour);
    return wordings[Math.floor(random() * wordings.length)] ?? thing;
  };
  const name = concept.name;
  const [first = name, second = first] = sample(concept.keywords, 2, random);
  return {
    prompt: say(name),
    ...(kind === '_bare' ? {} : { reworded: say(name), again: say(name) }),
    described: say(`${name}, ${first} ${second}`),
    keyword: say(first),
  };
}

/** Ways to say a thing, bare and with its article, in each kind of caption. */
const WORDINGS: Readonly<Record<Kind, (bare: string, thing: string, style: Style, colour: Colour) => string[]>> = {
  '': (bare, thing, style, colour) => [
    `${thing}, ${style} style, on ${withArticle(colour)} background`,
    `${thing} on ${withArticle(colour)} background, ${style} style`,
    `${thing} in ${style} style, ${colour} background`,
    `${style} style ${bare}, on ${withArticle(colour)} background`,
    `${style} ${bare} on ${colour}`,
    `${colour} background, ${thing}, ${style} style`,
  ],
  _no_colour: (bare, thing, style) => [
    `${thing}, ${style} style`,
    `${thing} in ${style} style`,
    `${style} style ${bare}`,
    `${style} ${bare}`,
  ],
  _no_style: (_, thing, __, colour) => [
    `${thing} on ${withArticle(colour)} background`,
    `${thing}, ${colour} background`,
    `${thing} on ${colour}`,
    `${colour} background, ${thing}`,
  ],
  _bare: (bare, thing) => [thing, `${withArticle('picture')} of ${thing}`, `${bare} icon`, `${bare} emoji`],
};

export function withArticle(words: string): string {
  return `${/^[aeiou]/.test(words) ? 'an' : 'a'} ${words}`;
}
