/**
 * Which tokens the language model reads, and which of its outputs the transformer gets.
 *
 * With an instruction of n tokens (including the start token) and room for M, the model reads n + M - 2 tokens, and
 * position 0 and the last M - 1 are selected: those from n - 1 on. They start at the instruction's last token because
 * that is a single space, which merges with the prompt's first word when a prompt follows.
 */

import { argumentError } from '../base/errors.ts';

export interface TextSelection {
  readonly ids: readonly number[]; // what the language model reads, without padding
  /**
   * How many of the first ids belong to the instruction, whatever the prompt: 0, or n - 1 tokens that are computed
   * once.
   */
  readonly prefixLength: number;
  readonly positions: readonly number[]; // of the selected outputs of real tokens, at most maxSequenceLength
}

/**
 * Selects for a prompt. `instructionIds` are those of the instruction alone, `ids` of instruction and prompt together;
 * both start with the start token. A negative prompt, or a prompt without instruction, has no `instructionIds`.
 */
export function selectText(
  ids: readonly number[],
  maxSequenceLength: number,
  instructionIds: readonly number[] = [],
): TextSelection {
  if (!Number.isInteger(maxSequenceLength) || maxSequenceLength < 1 || maxSequenceLength > 8192) {
    throw argumentError('maxSequenceLength', 'an integer from 1 to 8192', maxSequenceLength);
  }
  const instruction = Math.max(instructionIds.length, 1); // the start token counts as one
  const read = ids.slice(0, instructionIds.length > 0 ? instruction + maxSequenceLength - 2 : maxSequenceLength);
  const first = instructionIds.length > 0 ? instruction - 1 : 1;
  const positions = [0];
  for (let position = first; position < read.length; position++) positions.push(position);

  const prefix = instructionIds.slice(0, -1);
  const shared = prefix.length < read.length && prefix.every((id, i) => read[i] === id);
  return { ids: read, prefixLength: shared ? prefix.length : 0, positions };
}
