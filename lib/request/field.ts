/** A row of the request table: everything that there is to say about one option. */

import type { ModelTraits } from './model-traits.ts';
import type { ValueType } from './value-types.ts';

export type ModelKind = ModelTraits['kind'];

/** The headings of `--help`, in its order; the rows of docs/options.md are in the same one. */
export const GROUPS = [
  'Model',
  'Device',
  'Prompt',
  'Size',
  'Sampling',
  'Guidance',
  'Image to image',
  'ControlNet',
  'LoRA',
  'Output',
  'Call',
] as const;
export type Group = (typeof GROUPS)[number];

/** What a field is where it is left out. */
export interface Default<D = unknown> {
  /** As the documentation says it; '' where there is nothing to say. */
  readonly words: string;
  /** The value. Absent: there is none, and the code that reads the field says what that means. */
  readonly of?: (model: ModelTraits) => D;
}

export const required = { words: 'required' } as const satisfies Default;

/** No value: `words` say what happens without one. */
export function unset<const W extends string>(words: W): { readonly words: W } {
  return { words };
}

export function always<const D>(value: D, words = shown(value)) {
  return { words, of: () => value } as const;
}

function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : `\`${typeof value === 'string' ? `'${value}'` : value}\``;
}

/** A value that the model decides. */
export function ofModel<D>(words: string, of: (model: ModelTraits) => D) {
  return { words, of } as const;
}

/** Models that take a field. */
export interface Applicability {
  readonly kinds: readonly ModelKind[];
  /** As the documentation says it, within a sentence. */
  readonly words: string;
  /** Why the others refuse it, and what a caller could do. */
  readonly why: string;
  readonly remedy: string;
  /** A value that the others take, too, because it asks for nothing. */
  readonly neutral?: (value: unknown) => boolean;
}

export const SPRINT_ONLY: Applicability = {
  kinds: ['sprint'],
  words: 'Sprint only',
  why: 'only a Sprint model has it',
  remedy: 'load a Sprint model',
};

export const CONTROLNET_ONLY: Applicability = {
  kinds: ['controlnet'],
  words: 'models with a ControlNet only',
  why: 'the model has no ControlNet',
  remedy: "load a ControlNet: fromPretrained(model, { controlnet: 'path/to/controlnet' })",
};

export function notSprint(why: string, neutral: (value: unknown) => boolean): Applicability {
  const remedy = 'load a model that is not a Sprint one';
  return { kinds: ['sana', 'controlnet'], words: 'not for Sprint', why, remedy, neutral };
}

/** How a picture records a field. */
export interface Recorded {
  /** When, where it is not always: a sentence of the record's documentation. */
  readonly when?: string;
  /** A value that is not written. */
  readonly except?: unknown;
  /** The record has a SHA-256 of the value's bytes under this name, hexadecimal. */
  readonly digest?: string;
  /** The digest's documentation, and what a repetition calls it where it has changed. */
  readonly digestDoc?: string;
  readonly digestOf?: string;
  /** The record's type, where it is another one than the request's. */
  readonly type?: ValueType<unknown>;
  /** What is written for a checked value, where it is not the value itself. */
  readonly value?: (checked: never) => unknown;
  /** Each image of a call has its own, which the code that makes images adds. */
  readonly perImage?: true;
}

/** How the command line has a field. */
export interface Flag {
  /** What stands for the value: `<pixels>`. Absent: the flag is there or not. */
  readonly value?: string;
  readonly short?: string;
  /** Another name for it, of which one call takes one. */
  readonly alias?: string;
  /** Documentation of `--no-NAME`, which gives null, or false where the field is a boolean. */
  readonly no?: string;
  /** More words for `--help`. */
  readonly help?: string;
}

export interface Field {
  readonly type: ValueType<unknown>;
  /** The type for a model, where it has narrower bounds. */
  readonly narrow?: (model: ModelTraits) => ValueType<unknown>;
  readonly default: Default;
  /** One sentence, without capital and full stop: for `--help`, documentation and schema. */
  readonly summary: string;
  /** More sentences, in Markdown: for the documentation. */
  readonly details?: string;
  /** Sentences with links and flags, for docs/options.md alone. */
  readonly see?: string;
  /** Type and range in docs/options.md, where the type's own words are not enough. */
  readonly range?: string;
  readonly group: Group;
  readonly models?: Applicability;
  readonly flag?: Flag;
  readonly recorded?: Recorded;
  /** It is checked with other fields, by a rule: see request.ts. */
  readonly byRule?: true;
}

export type Table = Readonly<Record<string, Field>>;

type Value<F extends Field> = ReturnType<F['type']['check']>;
/** Whether a default always has a value. */
type Filled<F extends Field> = F['default'] extends { readonly of: (model: ModelTraits) => infer D }
  ? undefined extends D
    ? false
    : true
  : false;

/** What the fields of a table are once they are checked, with their defaults filled in. */
export type Checked<T extends Table> = {
  readonly [K in keyof T]: Filled<T[K]> extends true ? Value<T[K]> : Value<T[K]> | undefined;
};

/** The rows of a table in the order of the groups. */
export function byGroup<T extends Field>(table: Readonly<Record<string, T>>): [name: string, field: T][] {
  const rows = Object.entries(table);
  return GROUPS.flatMap((group) => rows.filter(([, field]) => field.group === group));
}

/** A text without Markdown's marks. */
export function plain(markdown: string): string {
  return markdown.replaceAll('`', '');
}

export function capitalized(text: string): string {
  return text.replace(/^./, (first) => first.toUpperCase());
}
