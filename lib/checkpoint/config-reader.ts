/**
 * Reads checked values from a configuration object. Errors name the file, the key, what was expected and what was
 * found.
 */

import type { SanaError } from '../base/errors.ts';
import { describeJson, isJsonObject, type JsonObject, type JsonValue } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';

/** `fallback` is used if the key is missing; without one, the key is required. */
export class ConfigReader {
  readonly #json: JsonObject;
  readonly #file: string;
  readonly #prefix: string;

  constructor(json: JsonObject, file: string, prefix = '') {
    this.#json = json;
    this.#file = file;
    this.#prefix = prefix;
  }

  integer(key: string, fallback: number | undefined, min: number, max: number): number {
    const value = this.#get(key, fallback);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    throw this.error(key, `an integer from ${min} to ${max}`);
  }

  number(key: string, fallback: number | undefined, min: number, max: number): number {
    const value = this.#get(key, fallback);
    if (typeof value === 'number' && value >= min && value <= max) return value; // false for NaN
    throw this.error(key, `a number from ${min} to ${max}`);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.#get(key, fallback);
    if (typeof value === 'boolean') return value;
    throw this.error(key, 'true or false');
  }

  string(key: string, fallback: string): string {
    const value = this.#get(key, fallback);
    if (typeof value === 'string') return value;
    throw this.error(key, 'a string');
  }

  /** One of the supported values. */
  choice<const T extends JsonValue>(key: string, choices: readonly T[], fallback?: T): T {
    const value = this.#get(key, fallback);
    const chosen = choices.find((choice) => choice === value);
    if (chosen !== undefined) return chosen;
    throw this.error(key, choices.map((choice) => describeJson(choice)).join(' or '));
  }

  /** Null if the key is null or missing, otherwise the result of `read`. */
  nullable<T>(key: string, read: () => T): T | null {
    return (this.#get(key, null) ?? null) === null ? null : read();
  }

  /**
   * A list of `min` to `max` elements, each read by `element` through a reader whose keys are the indices. With
   * `broadcast`, a string, number or boolean in place of the list stands for `max` equal elements.
   */
  list<T>(
    key: string,
    options: { min: number; max: number; fallback?: readonly JsonValue[] | string; broadcast?: boolean },
    element: (items: ConfigReader, index: string) => T,
  ): readonly T[] {
    let value = this.#get(key, options.fallback);
    if (options.broadcast && value !== undefined && value !== null && typeof value !== 'object')
      value = Array<JsonValue>(options.max).fill(value);
    const { min, max } = options;
    if (!Array.isArray(value) || value.length < min || value.length > max) {
      throw this.error(key, min === max ? `a list of ${max} elements` : `a list of ${min} to ${max} elements`);
    }
    const items = new ConfigReader(Object.assign(Object.create(null), value), this.#file, `${this.#prefix}${key}.`);
    return value.map((_, i) => element(items, String(i)));
  }

  /** A reader of the object below `key`, or null if it does not exist. */
  object(key: string): ConfigReader | null {
    const value = this.#get(key, null) ?? null;
    if (value === null) return null;
    if (!isJsonObject(value)) throw this.error(key, 'an object');
    return new ConfigReader(value, this.#file, `${this.#prefix}${key}.`);
  }

  error(key: string, expected: string): SanaError {
    const found = describeJson(this.#json[key]);
    return modelError(
      this.#file,
      `expected \`${this.#prefix}${key}\` to be ${expected}, found ${found}`,
      'The file is damaged, or belongs to an unsupported kind of model: compare it with the original.',
    );
  }

  #get(key: string, fallback: JsonValue | undefined): JsonValue | undefined {
    return Object.hasOwn(this.#json, key) ? this.#json[key] : fallback;
  }
}
