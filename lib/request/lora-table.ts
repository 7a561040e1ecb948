/** The options of `SanaPipeline.loadLora`, as rows: see request-table.ts. */

import { argumentError } from '../base/errors.ts';
import { always, type Table, unset } from './field.ts';
import { checkText } from './fields.ts';
import { number, signal, text, type ValueType } from './value-types.ts';

const MAX_NAME_LENGTH = 100;

export const loraName: ValueType<string> = {
  ...text,
  check(field, value) {
    const given = checkText(field, value);
    if (given !== '' && given.length <= MAX_NAME_LENGTH && !/\p{Cc}/u.test(given)) return given;
    throw argumentError(field, `a line of 1 to ${MAX_NAME_LENGTH} characters`, value);
  },
  range: `a line of 1 to ${MAX_NAME_LENGTH} characters`,
};

export const LORA = {
  scale: {
    type: number(),
    default: always(1),
    summary: 'strength of the adapter, times that of its file',
    details: 'Negative ones turn the adapter around.',
    group: 'LoRA',
  },
  name: {
    type: loraName,
    default: unset("the file's name, or its folder's"),
    summary: 'what to call it, for `unloadLora` and the metadata of pictures',
    group: 'LoRA',
  },
  signal: {
    type: signal,
    default: unset('none'),
    summary: 'ends the merge',
    details: 'It rejects with `signal.reason`.',
    group: 'Call',
  },
} as const satisfies Table;
