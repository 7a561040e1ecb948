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
    throw argumentError(field, `a single line of 1 to ${MAX_NAME_LENGTH} characters`, value);
  },
  range: `a single line of 1 to ${MAX_NAME_LENGTH} characters`,
};

export const LORA = {
  scale: {
    type: number(),
    default: always(1),
    summary: 'strength of the adapter, multiplied by that of its file',
    details: 'Negative values invert it.',
    group: 'LoRA',
  },
  name: {
    type: loraName,
    default: unset("the file's name, or its folder's"),
    summary: 'its name for `unloadLora` and the metadata of pictures',
    group: 'LoRA',
  },
  signal: {
    type: signal,
    default: unset('none'),
    summary: 'ends the merge',
    details: '`loadLora` rejects with `signal.reason`.',
    group: 'Call',
  },
} as const satisfies Table;
