/** The prompts of the evaluation, and what each describes. Determined by a seed. */

import { type Random, seeded } from '../captions/random.ts';
import { withArticle } from '../captions/write-captions.ts';
import type { Bank } from '../pictures/bank.ts';
import type { Asked } from './judge.ts';

export interface Task {
  readonly name: string;
  readonly prompts: readonly { readonly text: string; readonly asked: Asked }[];
}

const SEED = 30;
const SILENT_COLOUR = 'white'; // what is meant where no colour is named
const SILENT_STYLE = 'fluent';

/** `count` prompts of each kind. */
export function evaluationTasks(bank: Bank, count: number): Task[] {
  const { concepts, styles, colours } = bank.index;
  const fluent = styles.indexOf(SILENT_STYLE);
  const random = seeded(SEED);
  const task = (name: string, draw: () => Asked, say: (asked: Asked) => string): Task => ({
    name,
    prompts: Array.from({ length: count }, () => {
      const asked = draw();
      return { asked, text: say(asked) };
    }),
  });
  const thing = ({ concept }: Asked) => withArticle(concepts[concept]?.name ?? '');
  const style = (asked: Asked) => `${styles[asked.style]} style`;
  const background = (asked: Asked) => `on ${withArticle(asked.colour)} background`;
  const concept = () => pick(concepts.length, random);
  const known = (of: number) => Object.keys(colours).filter((name) => !concepts[of]?.unseenColours.includes(name));
  const unseen = (of: number) => concepts[of]?.unseenColours ?? [];
  const choose = (of: number, from: (concept: number) => readonly string[]) =>
    from(of)[pick(from(of).length, random)] ?? '';
  const full = (from: (concept: number) => readonly string[]) => (): Asked => {
    const of = concept();
    return { concept: of, style: pick(styles.length, random), colour: choose(of, from) };
  };
  const everything = (asked: Asked) => `${thing(asked)}, ${style(asked)}, ${background(asked)}`;
  return [
    task('unseen pairs', full(unseen), everything),
    task('known pairs', full(known), everything),
    task(
      'no style',
      () => ({ ...full(unseen)(), style: fluent }),
      (asked) => `${thing(asked)} ${background(asked)}`,
    ),
    task(
      'no colour',
      () => ({ ...full(known)(), colour: SILENT_COLOUR }),
      (asked) => `${thing(asked)}, ${style(asked)}`,
    ),
    task('neither', () => ({ concept: concept(), style: fluent, colour: SILENT_COLOUR }), thing),
  ];
}

function pick(count: number, random: Random): number {
  return Math.floor(random() * count);
}
