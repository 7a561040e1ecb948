/**
 * Which things the tiny model learns to draw: those that every icon set has, and that people would type.
 *
 * Emojibase names and groups the emoji; an icon's name is the slug of its emoji's label, so the label joins the sets.
 */

import type { IconSet } from './icon-set.ts';

/** An entry of emojibase's `data.json`, with the fields that are used here. */
export interface EmojiEntry {
  readonly label: string;
  readonly group?: number;
  readonly subgroup?: number;
  readonly order?: number;
  readonly tags?: readonly string[];
}

/** A thing with a picture in every set. */
export interface Concept {
  readonly slug: string; // the icons' name
  readonly name: string; // as a prompt says it: 'smiling cat with heart eyes'
  readonly keywords: readonly string[]; // other words for it, most of them single
}

/** Emojibase's names of the selected subgroups, and the maximum number of words of a label in each. */
const LONGEST_LABEL: Readonly<Record<string, number>> = {
  // The names of faces and hearts are descriptions, and people type them most.
  ...each(9, 'face-smiling face-affection face-tongue face-hand face-neutral-skeptical face-sleepy face-unwell'),
  ...each(9, 'face-hat face-glasses face-concerned face-negative face-costume cat-face monkey-face heart'),
  ...each(2, 'emotion body-parts hands hand-fingers-open hand-fingers-partial hand-fingers-closed person-fantasy'),
  ...each(1, 'person-role'),
  ...each(3, 'animal-mammal animal-bird animal-amphibian animal-marine animal-reptile animal-bug'),
  ...each(4, 'plant-flower plant-other food-fruit food-vegetable food-prepared food-asian food-sweet drink dishware'),
  ...each(3, 'place-map place-geographic place-building place-other sky-weather transport-air transport-water'),
  ...each(2, 'place-religious transport-ground hotel time event award-medal sport game arts-crafts clothing'),
  ...each(2, 'music musical-instrument light-video lock medical science tool writing household phone computer'),
  ...each(1, 'sound book-paper money mail office other-object'),
};

/** Duplicates, directions, what an icon cannot show, and what hardly anybody would type. */
const LEFT_OUT = [
  // Faces, hearts and hands that are hard to distinguish from another one that is kept.
  /^kissing face$|^kissing face with smiling|dotted line|without mouth|open eyes and|diagonal|hushed|anguished|persevering/,
  /confounded|downcast|tired face|frowning face with open|slightly frowning|saluting|exhaling|lying face|spiral eyes/,
  /heart (decoration|exclamation)|revolving|growing heart|grey heart|dashing|^hole|pinching|vulcan|raising hands|open hands/,
  /mechanical|biting|technologist|judge|mechanic|^ox$|buffalo|two hump|cockroach|microbe|fluttering|empty nest|hyacinth/,
  // Things that exist only as a particular drawing, or are recognized only by it.
  /ginger|pea pod|brown mushroom|flatbread|cut of meat|canned|rice cracker|sweet potato|takeout|without handle|pouring/,
  /beverage box|^mate$|national park|^houses|wedding|hot springs|at dusk|over mountains|bridge at night|carousel|^station/,
  /rickshaw|motor boat|ferry|^bank$|new moon face|timer clock|wind face|^fog$|streamer|wind chime|red envelope|softball/,
  /rugby|lacrosse|field hockey|cricket game|goal net|curling|nesting dolls|^sari$|womans clothes|sandal|mans shoe|flat shoe/,
  /clutch bag|running shirt|clapper|bookmark|^label$|fountain pen|^memo$|old key|^pick$|^link$|^hook$|x ray|elevator/,
  /mouse trap|^razor$|wastebasket/,
  /oclock|thirty/,
  /^(man|woman|men|women|mrs|mx)\b|pregnant|breast/,
  /leftwards|rightwards|facing|pushing|raised back|palm (up|down)|oncoming|departure|arrival/,
  /quarter|gibbous|waxing|waning|globe|map of|umbrella on|closed umbrella|without snow|small airplane/,
  /\banger\b|middle finger|love hotel|cigarette|speaker|shaking (horizontally|vertically)|coffin|headstone/,
  /japanese|tokyo|tanabata|antenna|input|low battery|guide dog|service dog|wheelchair|crutch|white cane/,
  /trolleybus|minibus|light rail|monorail|tram car|railway|cableway|tramway|motorway|bus stop|articulated|oil drum/,
  /building construction|office building|post office|department|convenience|derelict|garden|classical|foggy|barber/,
  /pager|fax|trackball|optical|videocassette|film|ledger|receipt|placard|level slider|control knobs|abacus|disk|dvd/,
  /alembic|petri|hamsa|moai|kaaba|diya|hair pick|prayer beads|military|sheaf|pine decoration|firecracker|reminder/,
  /tamale|oden|dango|stuffed|fondue|moon cake|amphora|shallow pan|cooking|rosette|confetti|performing|sewing|knot$/,
  /shrine|synagogue|mosque|temple|ticket|mahjong|bellhop|mantelpiece|thong|billed|lotion|safety (pin|vest)|plunger/,
  /telephone receiver|black nib|pushpin|clipboard|carpentry|broken chain|chains|clamp|adhesive|musical score|long drum/,
];

/** The concepts of `entries` that every set has, in emojibase's order. */
export function selectConcepts(
  entries: readonly EmojiEntry[],
  subgroups: Readonly<Record<string, string>>,
  sets: readonly IconSet[],
): Concept[] {
  return [...entries]
    .sort((a, b) => (a.order ?? 0) - (b.order ?? 0))
    .filter(({ label, subgroup }) => {
      const name = nameOf(label);
      const words = LONGEST_LABEL[subgroups[String(subgroup)] ?? ''] ?? 0;
      return name.split(' ').length <= words && !LEFT_OUT.some((pattern) => pattern.test(name));
    })
    .filter(({ label }) => sets.every(({ icons }) => Object.hasOwn(icons, slugOf(label))))
    .map(({ label, tags = [] }) => {
      const name = nameOf(label);
      return { slug: slugOf(label), name, keywords: [...new Set(tags.map(nameOf))].filter((word) => word !== name) };
    });
}

/** 'Smiling cat with heart-eyes' -> 'smiling-cat-with-heart-eyes', as the sets name their icons. */
export function slugOf(label: string): string {
  return plain(label)
    .replace(/[^a-z0-9 -]/g, '')
    .trim()
    .replace(/[ -]+/g, '-');
}

/** 'Smiling cat with heart-eyes' -> 'smiling cat with heart eyes', the words without their punctuation. */
export function nameOf(label: string): string {
  return plain(label)
    .replace(/['’.]/g, '')
    .replace(/[^a-z0-9]+/g, ' ')
    .trim();
}

/** In lower case and without accents. */
function plain(label: string): string {
  return label
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .toLowerCase();
}

function each(words: number, subgroups: string): Record<string, number> {
  return Object.fromEntries(subgroups.split(' ').map((subgroup) => [subgroup, words]));
}
