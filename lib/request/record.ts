/**
 * The record of a picture: everything needed to make it again. Fields of the request are recorded as their rows say,
 * with their names in `generate`, together with the model and device that the picture was made on.
 */

import { publicDtypeNames } from '../base/dtypes.ts';
import { argumentError } from '../base/errors.ts';
import type { Field } from './field.ts';
import { checkList } from './fields.ts';
import { loraName } from './lora-table.ts';
import type { CheckedRequest } from './request.ts';
import { REQUEST } from './request-table.ts';
import type { GenerationParameters, RequestFields } from './types.ts';
import { choice, number, type ValueType, word } from './value-types.ts';
import type { Lora } from './values.ts';

export interface RecordField {
  readonly name: string;
  readonly type: ValueType<unknown>;
  readonly doc?: string;
  readonly optional?: true;
  /** Its name in the warning that `--from` gives if it differs. */
  readonly differs?: string;
}

type Row = Field & { readonly recorded: NonNullable<Field['recorded']> };

const ROWS = (Object.entries(REQUEST) as [string, Field][]).filter(
  (row): row is [string, Row] => row[1].recorded !== undefined,
);

const MAX_LORAS = 1000;

const loras: ValueType<readonly Lora[]> = {
  check: (field, value) => checkList(field, value, 1, MAX_LORAS).map((each, i) => checkLora(`${field}[${i}]`, each)),
  typescript: 'readonly Lora[]',
  range: 'list of adapters',
  expected: 'a list of adapters',
};

function checkLora(field: string, value: unknown): Lora {
  const { name, scale, sha256 } = (value ?? {}) as Partial<Lora>;
  if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/.test(sha256)) {
    throw argumentError(`${field}.sha256`, '64 hexadecimal digits', sha256);
  }
  return { name: loraName.check(`${field}.name`, name), scale: number().check(`${field}.scale`, scale), sha256 };
}

const LORAS: RecordField = {
  name: 'loras',
  type: loras,
  optional: true,
  doc: 'Only when there were LoRA adapters, in the order they were loaded.',
};

const MADE_ON: readonly RecordField[] = [
  { name: 'model', type: word, doc: "The model's name, never a path." },
  { name: 'modelFingerprint', type: word, doc: 'A fingerprint of its weights.', differs: 'model' },
  { name: 'dtype', type: choice(publicDtypeNames, 'DTypeName'), differs: 'dtype' },
  {
    name: 'devicePath',
    type: word,
    doc: "Instruction path of the device: 'avx512-bf16', 'avx2', 'sm_90', ... The same path gives the same bytes.",
    differs: 'device',
  },
  { name: 'version', type: word, doc: 'Version of this package.', differs: 'version' },
];

function recordField([name, { type, recorded }]: [string, Row]): RecordField {
  if (recorded.digest !== undefined) {
    const { digest, digestDoc: doc = '', digestOf: differs } = recorded;
    return { name: digest, type: word, doc, optional: true, ...(differs !== undefined && { differs }) };
  }
  return {
    name,
    type: recorded.type ?? type,
    ...(recorded.when !== undefined && { doc: recorded.when }),
    ...(isOptional(recorded) && { optional: true }),
  };
}

/** A field whose documentation says when it is recorded is optional; the fields of each image are not. */
function isOptional({ when, perImage }: Row['recorded']): boolean {
  return when !== undefined && perImage === undefined;
}

const rowsOf = (wanted: (row: Row) => boolean) => ROWS.filter(([, row]) => wanted(row));
const common = rowsOf(({ recorded }) => recorded.perImage === undefined);

/** The fields of a record, in the order of its JSON: adapters come before the scale that multiplies theirs. */
export const RECORD: readonly RecordField[] = [
  ...common.filter(([, { group }]) => group !== 'LoRA').map(recordField),
  LORAS,
  ...common.filter(([, { group }]) => group === 'LoRA').map(recordField),
  ...MADE_ON,
  ...rowsOf(({ recorded }) => recorded.perImage === true).map(recordField),
];

/** What all images of a call have in common. */
export type CommonParameters = Omit<GenerationParameters, 'prompt' | 'negativePrompt' | 'seed' | 'controlImageSha256'>;
/** What the images of a call were made on. */
export type MadeOn = Pick<GenerationParameters, 'model' | 'modelFingerprint' | 'dtype' | 'devicePath' | 'version'> & {
  readonly loras: readonly Lora[];
};

/** The record of a call, without the fields that differ between its images. `digest`: SHA-256, hexadecimal. */
export function recordOf(
  request: CheckedRequest,
  { loras: adapters, ...madeOn }: MadeOn,
  digest: (data: NodeJS.ArrayBufferView) => string,
): CommonParameters {
  const checked: Readonly<Record<string, unknown>> = {
    ...request,
    controlnetConditioningScale: request.control?.scale,
  };
  const entries = common.map(([name, { recorded }]): [string, unknown] => {
    const value = checked[name];
    if (value === undefined || value === recorded.except) return [name, undefined];
    if (recorded.digest !== undefined) {
      return [recorded.digest, digest((value as { readonly data: NodeJS.ArrayBufferView }).data)];
    }
    return [name, recorded.value === undefined ? value : recorded.value(value as never)];
  });
  const values: Readonly<Record<string, unknown>> = {
    ...Object.fromEntries(entries),
    ...madeOn,
    ...(adapters.length > 0 && { loras: adapters }),
  };
  const ordered = RECORD.map(({ name }) => [name, values[name]]).filter(([, value]) => value !== undefined);
  return Object.fromEntries(ordered) as CommonParameters; // each by its row
}

/** Returns a record if it is complete and this package could have written everything in it; throws otherwise. */
export function checkRecord(record: Readonly<Record<string, unknown>>): GenerationParameters {
  const checked = RECORD.flatMap(({ name, type, optional }) =>
    optional && record[name] === undefined ? [] : [[name, type.check(name, record[name])]],
  );
  return Object.fromEntries(checked) as GenerationParameters; // each by its row
}

/** The fields of a request that a record has only digests of: to make the picture again, their values are needed. */
export function digestsIn(record: Partial<GenerationParameters>): string[] {
  const values = record as Readonly<Record<string, unknown>>;
  const digests = ROWS.filter(
    ([, { recorded }]) => recorded.digest !== undefined && values[recorded.digest] !== undefined,
  );
  return digests.map(([name]) => name);
}

/** The fields of a request that a record has: enough to make the picture again, with the pictures it started from. */
export function requestOfRecord(record: Partial<GenerationParameters>): Omit<Partial<RequestFields>, 'onStep'> {
  const entries = ROWS.flatMap(([name, { recorded }]) => {
    const value = (record as Readonly<Record<string, unknown>>)[name];
    if (recorded.digest !== undefined || value === undefined) return [];
    return [[name, name === 'seed' ? BigInt(value as string) : value]];
  });
  return Object.fromEntries(entries);
}
