/** The options of `SanaPipeline.loadLora`, checked before any work. */

import { argumentError } from '../base/errors.ts';
import { checkFinite, checkKeys, checkSignal, checkText } from './fields.ts';
import type { LoraOptions } from './types.ts';

const KNOWN = ['scale', 'name', 'signal'] as const satisfies readonly (keyof LoraOptions)[];
const UNAVAILABLE = { weightName: 'pass the path of the file itself' };
const MAX_NAME_LENGTH = 100;

export interface CheckedLora {
  readonly scale: number;
  readonly name: string | undefined;
  readonly signal: AbortSignal | undefined;
}

export function checkLoraOptions(path: string, options: LoraOptions = {}): CheckedLora {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw argumentError('path', 'the path of a .safetensors file, or of a folder that holds one', path);
  }
  checkKeys('options', options, KNOWN, UNAVAILABLE);
  const { scale = 1, name, signal } = options;
  return {
    scale: checkFinite('scale', scale),
    name: name === undefined ? undefined : checkLoraName(name),
    signal: signal === undefined ? undefined : checkSignal('signal', signal),
  };
}

export function checkLoraName(name: unknown): string {
  const text = checkText('name', name);
  if (text !== '' && text.length <= MAX_NAME_LENGTH && !/\p{Cc}/u.test(text)) return text;
  throw argumentError('name', `a line of 1 to ${MAX_NAME_LENGTH} characters`, name);
}
