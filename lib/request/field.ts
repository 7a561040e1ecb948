/** A row of the request table: everything about one option. */

import type { ModelTraits } from './model-traits.ts';
import type { ValueType } from './value-types.ts';

export type ModelKind = ModelTraits['kind'];

/** The headings of `--help`, in order; the rows of docs/options.md have the same order. */
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

/** The value of a field that is left out. */
export interface Default<D = unknown> {
  /** Its text in the documentation; '' for none. */
  readonly words: string;
  /** The value. Absent: there is none, and the code that reads the field decides what that means. */
  readonly of?: (model: ModelTraits) => D;
}

export const required = { words: 'required' } as const satisfies Default;

/** No value: `words` describe what happens without one. */
export function unset<const W extends string>(words: W): { readonly words: W } {
  return { words };
}

export function always<const D>(value: D, words = shown(value)) {
  return { words, of: () => value } as const;
}

function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : `\`${typeof value === 'string' ? `'${value}'` : value}\``;
}

/** A value that depends on the model. */
export function ofModel<D>(words: string, of: (model: ModelTraits) => D) {
  return { words, of } as const;
}

/** The models that a field applies to. */
export interface Applicability {
  readonly kinds: readonly ModelKind[];
  /** Their name in the documentation, as part of a sentence. */
  readonly words: string;
  /** Why other models reject it, and what a caller can do. */
  readonly why: string;
  readonly remedy: string;
  /** Whether other models also accept a value, because it has no effect. */
  readonly neutral?: (value: unknown) => boolean;
}

export const SPRINT_ONLY: Applicability = {
  kinds: ['sprint'],
  words: 'Sprint only',
  why: 'only Sprint models support it',
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
  /** When it is recorded, if not always: a sentence of the record's documentation. */
  readonly when?: string;
  /** The value that is not written. */
  readonly except?: unknown;
  /** The record has a SHA-256 of the value's bytes under this name, hexadecimal. */
  readonly digest?: string;
  /** The digest's documentation, and its name in the warning that `--from` gives if it differs. */
  readonly digestDoc?: string;
  readonly digestOf?: string;
  /** The type in the record, if it differs from the request's. */
  readonly type?: ValueType<unknown>;
  /** What is written for a checked value, if not the value itself. */
  readonly value?: (checked: never) => unknown;
  /** Each image of a call has its own value, which the code that makes images adds. */
  readonly perImage?: true;
}

/** The flags of a field on the command line. */
export interface Flag {
  /** The placeholder of the value: `<pixels>`. Absent: the flag has no value. */
  readonly value?: string;
  readonly short?: string;
  /** Another name; one call may use only one of the two. */
  readonly alias?: string;
  /** Documentation of `--no-NAME`, which gives null, or false if the field is a boolean. */
  readonly no?: string;
  /** More text for `--help`. */
  readonly help?: string;
}

export interface Field {
  readonly type: ValueType<unknown>;
  /** The type for a model, if the model has narrower bounds. */
  readonly narrow?: (model: ModelTraits) => ValueType<unknown>;
  readonly default: Default;
  /** One sentence, without capital and full stop: for `--help`, documentation and schema. */
  readonly summary: string;
  /** More sentences, in Markdown: for the documentation. */
  readonly details?: string;
  /** Sentences with links and flags, only for docs/options.md. */
  readonly see?: string;
  /** Type and range in docs/options.md, if the type's own text is not enough. */
  readonly range?: string;
  readonly group: Group;
  readonly models?: Applicability;
  readonly flag?: Flag;
  readonly recorded?: Recorded;
  /** It is checked together with other fields: see request.ts. */
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

/** The fields of a table after checking, with defaults filled in. */
export type Checked<T extends Table> = {
  readonly [K in keyof T]: Filled<T[K]> extends true ? Value<T[K]> : Value<T[K]> | undefined;
};

/** The rows of a table in the order of the groups. */
export function byGroup<T extends Field>(table: Readonly<Record<string, T>>): [name: string, field: T][] {
  const rows = Object.entries(table);
  return GROUPS.flatMap((group) => rows.filter(([, field]) => field.group === group));
}

/** A text without Markdown's code marks. */
export function plain(markdown: string): string {
  return markdown.replaceAll('`', '');
}

export function capitalized(text: string): string {
  return text.replace(/^./, (first) => first.toUpperCase());
}
