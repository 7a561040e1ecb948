/**
 * A JSON parser for files that come with checkpoints.
 *
 * `JSON.parse` is not enough: released scheduler configs contain `-Infinity`, and it silently keeps the last value of a
 * repeated key, so that two readers of one safetensors header may see two different files. This parser accepts NaN,
 * Infinity and -Infinity as values, rejects repeated keys, and limits depth, size and the number of values, because the
 * text is not trusted. Objects have no prototype: a key `__proto__` is a key like any other.
 */

import type { SanaError } from './errors.ts';
import { modelError } from './model-error.ts';

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

const MAX_CHARACTERS = 32 * 1024 * 1024;
const MAX_DEPTH = 64;
const MAX_VALUES = 1_000_000; // a header of 100 000 tensors has 800 000
const MAX_NUMBER_CHARACTERS = 400; // the longest double, 5e-324, written out has 1 + 1 + 324 digits

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON forbids them in strings
const PLAIN_CHARACTERS = /[^"\\\u0000-\u001f]*/y;
const WORDS: ReadonlyMap<string, JsonValue> = new Map<string, JsonValue>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]);
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

/** Parses `text`; `file` is named in the error, with line and column. */
export function parseJson(text: string, file: string): JsonValue {
  if (text.length > MAX_CHARACTERS) {
    throw modelError(file, `is ${text.length} characters long, more than the ${MAX_CHARACTERS} that are read`);
  }
  return new Parser(text, file).document();
}

/** Parses `text`, which must be an object. */
export function parseJsonObject(text: string, file: string): JsonObject {
  const value = parseJson(text, file);
  if (!isJsonObject(value)) throw modelError(file, `expected an object, found ${describeJson(value)}`);
  return value;
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value in an error message: its kind, and the value itself if it is short. */
export function describeJson(value: JsonValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (value === null || typeof value === 'boolean' || typeof value === 'number') return String(value);
  if (typeof value === 'string')
    return value.length > 60 ? `a string of ${value.length} characters` : JSON.stringify(value);
  return isJsonObject(value) ? 'an object' : `an array of ${value.length}`;
}

class Parser {
  readonly #text: string;
  readonly #file: string;
  #at = 0;
  #values = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
  }

  document(): JsonValue {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) throw this.#unexpected('the end of the file');
    return value;
  }

  #value(depth: number): JsonValue {
    if (++this.#values > MAX_VALUES) throw this.#error(`holds more than ${MAX_VALUES} values`);
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth + 1);
      case '[':
        return this.#array(depth + 1);
      case '"':
        return this.#string();
    }
    const number = this.#number();
    if (number !== undefined) return number;
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    throw this.#unexpected('a value');
  }

  #object(depth: number): JsonObject {
    if (depth > MAX_DEPTH) throw this.#error(`is nested more than ${MAX_DEPTH} deep`);
    const object: Record<string, JsonValue> = Object.create(null);
    this.#at++;
    if (this.#take('}')) return object;
    do {
      this.#space();
      const start = this.#at;
      if (this.#text[start] !== '"') throw this.#unexpected('a key in double quotes');
      const key = this.#string();
      if (key in object) {
        this.#at = start;
        throw this.#error(`the key ${describeJson(key)} appears twice`);
      }
      if (!this.#take(':')) throw this.#unexpected("':'");
      object[key] = this.#value(depth);
    } while (this.#take(','));
    if (!this.#take('}')) throw this.#unexpected("',' or '}'");
    return object;
  }

  #array(depth: number): JsonValue[] {
    if (depth > MAX_DEPTH) throw this.#error(`is nested more than ${MAX_DEPTH} deep`);
    const array: JsonValue[] = [];
    this.#at++;
    if (this.#take(']')) return array;
    do array.push(this.#value(depth));
    while (this.#take(','));
    if (!this.#take(']')) throw this.#unexpected("',' or ']'");
    return array;
  }

  #string(): string {
    const start = this.#at++;
    let text = this.#run(PLAIN_CHARACTERS);
    while (this.#text[this.#at] === '\\') text += this.#escape() + this.#run(PLAIN_CHARACTERS);
    if (this.#at >= this.#text.length) {
      this.#at = start;
      throw this.#error('a string has no end');
    }
    if (this.#text[this.#at] !== '"') throw this.#error('a string holds a control character');
    this.#at++;
    return text;
  }

  /** Consumes what `pattern` matches here, or nothing. */
  #run(pattern: RegExp): string {
    const start = this.#at;
    pattern.lastIndex = start;
    if (pattern.test(this.#text)) this.#at = pattern.lastIndex;
    return this.#text.slice(start, this.#at);
  }

  #escape(): string {
    const letter = this.#text[this.#at + 1] ?? '';
    const plain = ESCAPES.get(letter);
    if (plain !== undefined) {
      this.#at += 2;
      return plain;
    }
    const hex = this.#text.slice(this.#at + 2, this.#at + 6);
    if (letter !== 'u' || !/^[0-9a-fA-F]{4}$/.test(hex)) throw this.#error('a string holds an unknown escape');
    this.#at += 6;
    return String.fromCharCode(Number.parseInt(hex, 16));
  }

  /** A number, or undefined if there is none here. */
  #number(): number | undefined {
    const digits = this.#run(NUMBER);
    if (digits.length > MAX_NUMBER_CHARACTERS) throw this.#error(`a number has ${digits.length} characters`);
    return digits === '' ? undefined : Number(digits);
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at++;
    }
  }

  #take(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #unexpected(expected: string): SanaError {
    const found = this.#text[this.#at];
    return this.#error(
      `expected ${expected}, found ${found === undefined ? 'the end of the file' : JSON.stringify(found)}`,
    );
  }

  #error(reason: string): SanaError {
    const before = this.#text.slice(0, this.#at);
    const line = before.split('\n').length;
    return modelError(this.#file, `line ${line}, column ${this.#at - before.lastIndexOf('\n')}: ${reason}`);
  }
}
