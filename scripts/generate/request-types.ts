/** lib/request/types.ts: the public types of options and records, with their documentation. */

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../lib/base/package.ts';
import { ENCODE } from '../../lib/request/encode-table.ts';
import { capitalized, type Table } from '../../lib/request/field.ts';
import { descriptionOf } from '../../lib/request/json-schema.ts';
import { LOAD } from '../../lib/request/load-table.ts';
import { LORA } from '../../lib/request/lora-table.ts';
import { RECORD } from '../../lib/request/record.ts';
import { REQUEST } from '../../lib/request/request-table.ts';

const WIDTH = 120;

const HEAD = `/**
 * What a caller passes to a pipeline, and what a picture records of it: types of the public surface.
 *
 * \`npm run generate\` writes this file from the tables of this folder: change their rows.
 */
`;

/** Types of values.ts that the interfaces need, and that it exports beside them. */
const USED = ['DecodeTiling', 'DeviceName', 'DTypeName', 'ImageInput', 'LoadProgress', 'Lora', 'RawImage'];
const USED_TOO = ['SchedulerName', 'TensorLike'];
const OTHERS = ['LoadedLora', 'RequestDefaults'];

/** As the linter wants names: whatever their case. */
function sorted(names: readonly string[]): string[] {
  return [...names].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
}

export function typesFile(): string {
  const names = [...USED, ...USED_TOO];
  const text = [
    HEAD,
    `import type { ${names.join(', ')} } from './values.ts';`,
    '',
    `export type { ${sorted([...names, ...OTHERS]).join(', ')} } from './values.ts';`,
    '',
    ...interfaceOf('LoadOptions', 'Options of `SanaPipeline.fromPretrained`.', fieldsOf(LOAD)),
    ...interfaceOf(
      'RequestFields<Step = never>',
      'One call of `generate`. Everything but `prompt` has a default. `Step` is what `onStep` is called with.',
      fieldsOf(REQUEST),
    ),
    ...readRequest(),
    ...interfaceOf('LoraOptions', 'Options of `SanaPipeline.loadLora`.', fieldsOf(LORA)),
    ...interfaceOf(
      'EncodeOptions',
      'How an image is encoded. A field that does not apply to the format is rejected.',
      fieldsOf(ENCODE),
    ),
    ...interfaceOf(
      'GenerationParameters',
      'Everything that is enough to make one image again, as plain JSON: what was asked for, under the names that `generate` takes it by, and what it was made on.',
      RECORD.map(({ name, type, doc, optional }) => ({
        name,
        type: type.typescript,
        optional: optional === true,
        ...(doc !== undefined && { doc }),
      })),
    ),
  ].join('\n');
  const biome = join(packageRoot, 'node_modules/@biomejs/biome/bin/biome');
  return execFileSync(process.execPath, [biome, 'check', '--write', '--stdin-file-path=lib/request/types.ts'], {
    cwd: packageRoot,
    input: text,
    encoding: 'utf8',
  });
}

interface Member {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
  readonly doc?: string;
}

function fieldsOf(table: Table): Member[] {
  return Object.entries(table).map(([name, field]) => ({
    name,
    type: field.type.typescript,
    optional: field.default.words !== 'required',
    doc: [descriptionOf(field), ...(field.models === undefined ? [] : [`${capitalized(field.models.words)}.`])].join(
      ' ',
    ),
  }));
}

function interfaceOf(name: string, doc: string, members: readonly Member[]): string[] {
  return [
    ...comment(doc, ''),
    `export interface ${name} {`,
    ...members.flatMap(({ name: member, type, optional, doc: text }) => [
      ...(text === undefined ? [] : comment(text, '  ')),
      `  readonly ${member}${optional ? '?' : ''}: ${type};`,
    ]),
    '}',
    '',
  ];
}

/** A request with the pictures read. */
function readRequest(): string[] {
  const pictures = Object.entries<{ readonly type: { readonly typescript: string } }>(REQUEST)
    .map(([name, { type }]) => ({ name, type: type.typescript }))
    .filter(({ type }) => type.includes('ImageInput'));
  const names = pictures.map(({ name }) => `'${name}'`).join(' | ');
  return [
    ...comment('A request whose pictures are pixels: what their files held when the request was made.', ''),
    `export type ReadRequest<Step = never> = Omit<RequestFields<Step>, ${names}> & {`,
    ...pictures.map(({ name, type }) => `  readonly ${name}?: ${type.replaceAll('ImageInput', 'RawImage')};`),
    '};',
    '',
  ];
}

function comment(text: string, indent: string): string[] {
  const line = `${indent}/** ${text} */`;
  if (line.length <= WIDTH) return [line];
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`${indent} * ${word}`);
  }
  return [`${indent}/**`, ...lines, `${indent} */`];
}
