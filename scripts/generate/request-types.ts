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
 * The public types of the options of a pipeline, and of the record of how a picture was made.
 *
 * \`npm run generate\` writes this file from the tables of this folder: change their rows.
 */
`;

/** The types of values.ts that the interfaces need, and the others that are exported with them. */
const USED = ['DecodeTiling', 'DeviceName', 'DTypeName', 'ImageInput', 'LoadProgress', 'Lora', 'RawImage'];
const USED_TOO = ['SchedulerName', 'TensorLike'];
const OTHERS = ['LoadedLora', 'RequestDefaults'];

/** In the linter's order of names, which ignores case. */
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
      'One call of `generate`. Everything except `prompt` has a default. `Step` is the type that `onStep` is called with.',
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
      'Everything needed to make one image again, as plain JSON: the request, with the field names of `generate`, and the model and device.',
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
    ...comment('A request whose pictures are pixels, read from their files when the request was made.', ''),
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
