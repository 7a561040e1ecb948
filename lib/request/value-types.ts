/**
 * The types of options' values: each can check a value, parse a flag, and describe itself in TypeScript, in the
 * documentation and in JSON Schema.
 */

import { argumentError } from '../base/errors.ts';
import {
  checkBoolean,
  checkChoice,
  checkFunction,
  checkInteger,
  checkList,
  checkName,
  checkNumber,
  checkSignal,
  checkText,
} from './fields.ts';
import { LIMITS, MAX_SEED } from './limits.ts';
import type { RawImage, TensorLike } from './values.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface ValueType<T> {
  /** Checks a value and returns it in its final form. */
  check(name: string, value: unknown): T;
  /** The type that a caller may pass, in TypeScript. */
  readonly typescript: string;
  /** Type and range, in Markdown. */
  readonly range: string;
  /** Completes `Expected x to be ...`, and `Expected ...` for a flag that cannot be parsed. */
  readonly expected: string;
  /** Absent: JSON cannot hold it, or does not define how. */
  readonly schema?: JsonSchema;
  /** Parses a flag; undefined if the text is not of the type. Absent: there is no flag. */
  readonly parse?: (text: string) => unknown;
  /** All values, if they are a fixed list. */
  readonly choices?: readonly string[];
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

export function parseNumber(text: string): number | undefined {
  const value = NUMBER.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(Math.fround(value)) ? value : undefined;
}

/** `unit` comes before the range in the documentation: `pixels`. */
export function integer(min: number, max: number, unit?: string): ValueType<number> {
  return {
    check: (name, value) => checkInteger(name, value, min, max),
    typescript: 'number',
    range: `${unit === undefined ? '' : `${unit}, `}integer, ${min} to ${max}`,
    expected: `an integer from ${min} to ${max}`,
    schema: { type: 'integer', minimum: min, maximum: max },
    parse(text) {
      const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : undefined;
    },
  };
}

/** Bounds of a number. `above` is exclusive, the others are inclusive. */
export interface Bounds {
  readonly above?: number;
  readonly min?: number;
  readonly max?: number;
  /** A more precise noun than 'a number': 'an angle'. */
  readonly noun?: string;
  readonly unit?: string;
}

export function number({ above, min, max, noun = 'a number', unit }: Bounds = {}): ValueType<number> {
  const [words, range] =
    above !== undefined
      ? [`above ${above} and up to ${max}`, `above ${above}, up to ${max}`]
      : min !== undefined
        ? [`from ${min} to ${max}`, `, ${min} to ${max}`]
        : ['', ''];
  const expected = words === '' ? 'a finite number' : `${noun} ${words}`;
  const bare = noun.replace(/^an? /, '');
  return {
    check: (name, value) =>
      checkNumber(name, value, expected, { above: above ?? -Infinity, min: min ?? -Infinity, max: max ?? Infinity }),
    typescript: 'number',
    range:
      range === '' ? 'finite number' : `${bare}${unit === undefined ? '' : ` in ${unit},`} ${range}`.replace(' ,', ','),
    expected,
    schema: {
      type: 'number',
      ...(above !== undefined && { exclusiveMinimum: above }),
      ...(min !== undefined && { minimum: min }),
      ...(max !== undefined && { maximum: max }),
    },
    parse(text) {
      const value = parseNumber(text) ?? Number.NaN;
      return value > (above ?? -Infinity) && value >= (min ?? -Infinity) && value <= (max ?? Infinity)
        ? value
        : undefined;
    },
  };
}

/** A list of numbers, separated by commas in a flag. */
export function numbers(element: ValueType<number>, min: number, max: number): ValueType<readonly number[]> {
  return {
    check: (name, value) => checkList(name, value, min, max).map((each, i) => element.check(`${name}[${i}]`, each)),
    typescript: 'readonly number[]',
    range: `list of ${min} to ${max}: ${element.range}`,
    expected: `a list of ${min} to ${max} numbers, separated by commas`,
    schema: { type: 'array', items: element.schema, minItems: min, maxItems: max },
    parse(text) {
      const list = text.split(',').map((item) => element.parse?.(item.trim()));
      return list.length < min || list.length > max || list.includes(undefined) ? undefined : list;
    },
  };
}

export const boolean: ValueType<boolean> = {
  check: checkBoolean,
  typescript: 'boolean',
  range: 'boolean',
  expected: 'true or false',
  schema: { type: 'boolean' },
};

/** `typescript`: the name of the type, if it has one. */
export function choice<const T extends string>(
  choices: readonly T[],
  typescript = choices.map((each) => `'${each}'`).join(' | '),
): ValueType<T> {
  return {
    check: (name, value) => checkChoice(name, value, choices),
    typescript,
    range: choices.map((each) => `\`'${each}'\``).join(', '),
    expected: choices.map((each) => `'${each}'`).join(' or '),
    schema: { enum: choices },
    parse: (text) => choices.find((each) => each === text),
    choices,
  };
}

const TEXT = { type: 'string', maxLength: LIMITS.maxTextLength };

export const text: ValueType<string> = {
  check: checkText,
  typescript: 'string',
  range: `string of up to ${LIMITS.maxTextLength} characters`,
  expected: 'a string',
  schema: TEXT,
  parse: (given) => given,
};

/** One text, or a list of texts. */
export const texts: ValueType<string | readonly string[]> = {
  check(name, value) {
    if (typeof value === 'string') return checkText(name, value);
    if (!Array.isArray(value)) throw argumentError(name, 'a string or a list of strings', value);
    return checkList(name, value, 1, LIMITS.maxImages).map((each, i) => checkText(`${name}[${i}]`, each));
  },
  typescript: 'string | readonly string[]',
  range: `string of up to 100 000 characters, or a list of 1 to ${LIMITS.maxImages}`,
  expected: 'a string or a list of strings',
  schema: { anyOf: [TEXT, { type: 'array', items: TEXT, minItems: 1, maxItems: LIMITS.maxImages }] },
  parse: (given) => given,
};

/** A text as a list of lines. */
export function lines(max: number): ValueType<readonly string[]> {
  return {
    check(field, value) {
      const given = checkList(field, value, 0, max).map((line, i) => checkText(`${field}[${i}]`, line));
      checkText(field, given.join('\n'));
      return given;
    },
    typescript: 'readonly string[]',
    range: `list of up to ${max} lines`,
    expected: `a list of up to ${max} lines`,
    schema: { type: 'array', items: TEXT, maxItems: max },
    parse: (given) => given.split('\n'),
  };
}

/** A non-empty text without NUL characters: a path or a name. */
export function name(range = 'path', expected = 'a text'): ValueType<string> {
  return {
    check: (field, value) => checkName(field, value, expected),
    typescript: 'string',
    range,
    expected,
    schema: { type: 'string', minLength: 1, pattern: '^[^\\u0000]*$' },
    parse: (given) => (given === '' ? undefined : given),
  };
}

/** A text that matches a pattern. */
export function pattern<T extends string = string>(
  regex: RegExp,
  { range, expected, typescript = 'string' }: { range: string; expected: string; typescript?: string },
): ValueType<T> {
  return {
    check(field, value) {
      if (typeof value !== 'string' || !regex.test(value)) throw argumentError(field, expected, value);
      return value as T; // the pattern is of the type's texts
    },
    typescript,
    range,
    expected,
    schema: { type: 'string', pattern: regex.source },
    parse: (given) => (regex.test(given) ? given : undefined),
  };
}

/** `word` means null on the command line. */
export function orNull<T>(type: ValueType<T>, range: string, word?: string): ValueType<T | null> {
  const { parse, schema } = type;
  return {
    check: (field, value) => (value === null ? null : type.check(field, value)),
    typescript: `${type.typescript} | null`,
    range: `${type.range}; ${range}`,
    expected: `${type.expected}${word === undefined ? '' : `, or '${word}'`}`,
    ...(schema !== undefined && { schema: { anyOf: [schema, { type: 'null' }] } }),
    ...(parse !== undefined && { parse: (given: string) => (given === word ? null : parse(given)) }),
  };
}

const SEED = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER };

/** One seed, or one for each image. */
export const seeds: ValueType<bigint | readonly bigint[]> = {
  check: (field, value) =>
    Array.isArray(value)
      ? checkList(field, value, 0, value.length).map((each, i) => checkSeed(`${field}[${i}]`, each))
      : checkSeed(field, value),
  typescript: 'number | bigint | readonly (number | bigint)[]',
  range: 'integer or bigint, 0 to 2^64 - 1, or a list with one for each image',
  expected: 'an integer from 0 to 2^64 - 1. Leave it out for a random one',
  schema: { anyOf: [SEED, { type: 'array', items: SEED, minItems: 1, maxItems: LIMITS.maxImages }] },
  parse(given) {
    const list = given.split(',').map((item) => (/^\d{1,20}$/.test(item.trim()) ? BigInt(item) : -1n));
    if (list.some((seed) => seed < 0n || seed > MAX_SEED)) return undefined;
    return list.length === 1 ? list[0] : list;
  },
};

function checkSeed(field: string, value: unknown): bigint {
  const expected = 'an integer from 0 to 2^64 - 1';
  if (typeof value === 'bigint') {
    if (value >= 0n && value <= MAX_SEED) return value;
  } else if (typeof value === 'number' && Number.isInteger(value) && value >= 0) {
    if (Number.isSafeInteger(value)) return BigInt(value);
    throw argumentError(field, `${expected}, as a bigint above 2^53 - 1`, value);
  }
  throw argumentError(field, expected, value, field === 'seed' ? 'Leave `seed` out for a random one.' : undefined);
}

/** A seed in a record: decimal text, because a JSON number cannot hold large ones. */
export const seedText: ValueType<string> = {
  check(field, value) {
    if (typeof value === 'string' && /^\d{1,20}$/.test(value) && BigInt(value) <= MAX_SEED) return value;
    throw argumentError(field, 'an integer from 0 to 2^64 - 1, in decimal', value);
  },
  typescript: 'string',
  range: 'integer, 0 to 2^64 - 1, in decimal',
  expected: 'an integer from 0 to 2^64 - 1, in decimal',
};

/** A short text of a record. */
export const word: ValueType<string> = {
  check(field, value) {
    const given = checkText(field, value);
    if (given.length > 1000) throw argumentError(field, 'a string of at most 1000 characters', given);
    return given;
  },
  typescript: 'string',
  range: 'string of up to 1000 characters',
  expected: 'a string of at most 1000 characters',
};

/** Pixels, read from whatever the caller passed before the request is checked. */
export const picture: ValueType<RawImage> = {
  check: (_, value) => value as RawImage, // lib/image/input.ts has read it
  typescript: 'ImageInput',
  range: 'path, `Buffer` of an image file, `SanaImage`, `{ width, height, data }` in RGB, sharp instance',
  expected: 'a picture',
  parse: (given) => given,
};

/** One picture, or one for each prompt. */
export const pictures: ValueType<RawImage | readonly RawImage[]> = {
  ...picture,
  check: (_, value) => value as RawImage | readonly RawImage[],
  typescript: 'ImageInput | readonly ImageInput[]',
  range: 'as `image`, or a list with one for each prompt',
};

/** Latents. Their shape depends on the request: request.ts checks it. */
export const latents: ValueType<TensorLike> = {
  check: (_, value) => value as TensorLike,
  typescript: 'TensorLike',
  range: '`{ data: Float32Array, shape: [B, 32, height / 32, width / 32] }`',
  expected: 'a Float32Array with a shape',
  parse: (file) => file,
};

export function callback<F>(typescript: string, range = 'function'): ValueType<F> {
  return {
    check: (field, value) => checkFunction(field, value) as F,
    typescript,
    range,
    expected: 'a function',
  };
}

export const signal: ValueType<AbortSignal> = {
  check: checkSignal,
  typescript: 'AbortSignal',
  range: '`AbortSignal`',
  expected: 'an AbortSignal',
};
