/** Checks of single fields of an options object. Each throws an `ERR_SANA_ARGUMENT` that names the field. */

import { editDistance } from '../base/edit-distance.ts';
import { argumentError, SanaError } from '../base/errors.ts';
import { LIMITS } from './limits.ts';

/** Names that users of other tools type (letters only), and the field they mean here. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  steps: 'numInferenceSteps',
  cfg: 'guidanceScale',
  cfgscale: 'guidanceScale',
  sampler: 'scheduler',
  generator: 'seed',
  numimages: 'numImagesPerPrompt',
  batchsize: 'numImagesPerPrompt',
  callback: 'onStep',
  progress: 'onProgress',
};

/**
 * Throws if `value` is not a plain options object, or has a value for a key that is not in `known`. `unavailable` has
 * the reason for each key that exists elsewhere and is unsupported here.
 */
export function checkKeys(
  what: string,
  value: unknown,
  known: readonly string[],
  unavailable: Readonly<Record<string, string>>,
): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw argumentError(what, 'an object', value);
  }
  for (const [key, given] of Object.entries(value)) {
    if (given === undefined || known.includes(key)) continue;
    if (Object.hasOwn(unavailable, key)) {
      throw new SanaError('ERR_SANA_ARGUMENT', `\`${key}\` cannot be used here: ${unavailable[key]}`, {
        hint: `Leave \`${key}\` out.`,
      });
    }
    const meant = nearest(key, known);
    throw new SanaError('ERR_SANA_ARGUMENT', `The ${what} has an unknown key, \`${key.slice(0, 60)}\``, {
      hint: meant === undefined ? `Known keys: ${known.join(', ')}.` : `Did you mean \`${meant}\`?`,
    });
  }
}

export function checkInteger(name: string, value: unknown, min: number, max: number): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw argumentError(name, `an integer from ${min} to ${max}`, value);
  }
  return value as number;
}

/** A number that is also finite in float32, which the devices compute in. */
export function checkFinite(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(Math.fround(value))) {
    throw argumentError(name, 'a finite number', value);
  }
  return value;
}

/** A number between bounds: `above` is exclusive, `min` and `max` are inclusive. */
export function checkNumber(
  name: string,
  value: unknown,
  expected: string,
  { above, min, max }: { readonly above: number; readonly min: number; readonly max: number },
): number {
  const fits = typeof value === 'number' && value > above && value >= min && value <= max;
  if (!fits || !Number.isFinite(Math.fround(value))) throw argumentError(name, expected, value);
  return value;
}

export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw argumentError(name, 'true or false', value);
  return value;
}

export function checkChoice<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  const choice = choices.find((candidate) => candidate === value);
  if (choice === undefined) {
    throw argumentError(name, choices.map((candidate) => `'${candidate}'`).join(' or '), value);
  }
  return choice;
}

export function checkFunction(name: string, value: unknown): unknown {
  if (typeof value !== 'function') throw argumentError(name, 'a function', value);
  return value;
}

export function checkSignal(name: string, value: unknown): AbortSignal {
  if (!(value instanceof AbortSignal)) throw argumentError(name, 'an AbortSignal', value);
  return value;
}

/** Well-formed text of limited length: a string without lone surrogates. */
export function checkText(name: string, value: unknown): string {
  if (typeof value !== 'string') throw argumentError(name, 'a string', value);
  if (value.length > LIMITS.maxTextLength) {
    throw argumentError(name, `a string of at most ${LIMITS.maxTextLength} characters`, value, 'Shorten it.');
  }
  // With the u flag, only lone surrogates match.
  if (/\p{Surrogate}/u.test(value)) {
    throw new SanaError('ERR_SANA_ARGUMENT', `Expected \`${name}\` to be well-formed text, got a lone surrogate`, {
      hint: 'The string was probably cut in the middle of a character: cut it between code points.',
    });
  }
  return value;
}

/** A text that is not empty and has no NUL characters: a path or a name. */
export function checkName(name: string, value: unknown, expected = 'a text'): string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw argumentError(name, expected, value);
  return value;
}

/** A list without holes, of `min` to `max` elements. */
export function checkList(name: string, value: unknown, min: number, max: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length < min || value.length > max) {
    const count = min < max ? `${min} to ${max} elements` : min === 1 ? 'one element' : `${min} elements`;
    throw argumentError(name, `a list of ${count}`, value);
  }
  return Array.from(value);
}

/** The known name closest to the typed one: another spelling, a known alias, a part of it, or a typo. */
function nearest(typed: string, known: readonly string[]): string | undefined {
  const letters = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const wanted = letters(typed.slice(0, 60));
  const alias = Object.hasOwn(OTHER_NAMES, wanted) ? OTHER_NAMES[wanted] : undefined;
  if (alias !== undefined && known.includes(alias)) return alias;
  if (wanted.length < 3) return undefined;
  const ranked = known
    .map((name) => ({ name, distance: editDistance(wanted, letters(name)) }))
    .sort((a, b) => a.distance - b.distance);
  const allowed = Math.floor(wanted.length / 3);
  return (
    ranked.find(({ distance }) => distance <= allowed)?.name ?? known.find((name) => letters(name).includes(wanted))
  );
}
