/** The tables of docs/options.md, between marks; the rest of the page is written by hand. */

import { ENCODE } from '../../lib/request/encode-table.ts';
import { byGroup, capitalized, type Field, type Table } from '../../lib/request/field.ts';
import { LOAD } from '../../lib/request/load-table.ts';
import { LORA } from '../../lib/request/lora-table.ts';
import { REQUEST } from '../../lib/request/request-table.ts';

const TABLES: Readonly<Record<string, () => string[]>> = {
  fromPretrained: () => optionsTable(LOAD),
  generate: () => optionsTable(REQUEST),
  loadLora: () => optionsTable(LORA),
  saving: encodeTable,
};

/** The page with its tables rewritten. */
export function optionsPage(page: string): string {
  return Object.entries(TABLES).reduce((text, [name, table]) => {
    const [start, end] = [`<!-- table: ${name} -->`, '<!-- end -->'];
    const from = text.indexOf(start);
    const to = text.indexOf(end, from);
    if (from < 0 || to < 0) throw new Error(`docs/options.md has no table ${name}`);
    return `${text.slice(0, from)}${[start, '', ...table(), '', ''].join('\n')}${text.slice(to)}`;
  }, page);
}

function optionsTable(table: Table): string[] {
  return [
    '| option | type and range | default | what |',
    '|---|---|---|---|',
    ...byGroup(table).map(([name, field]) => row(`\`${name}\``, rangeOf(field), field.default.words, whatOf(field))),
  ];
}

function encodeTable(): string[] {
  return [
    '| option | type and range | default | formats | what |',
    '|---|---|---|---|---|',
    ...Object.entries(ENCODE).map(([name, field]) =>
      row(`\`${name}\``, rangeOf(field), field.default.words, formatsOf(field.formats), whatOf(field)),
    ),
  ];
}

function formatsOf(formats: readonly string[]): string {
  const names: Readonly<Record<string, string>> = { webp: 'WebP' };
  return formats.length === 4 ? 'all' : formats.map((name) => names[name] ?? name.toUpperCase()).join(', ');
}

function row(...cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function rangeOf({ range, type }: Field): string {
  return range ?? type.range;
}

function whatOf({ summary, details, see, models, flag }: Field): string {
  const short = flag === undefined ? [] : [flag.short, flag.alias && `--${flag.alias}`].filter(Boolean);
  const sentences = [
    ...(details === undefined ? [] : [details]),
    ...(models === undefined ? [] : [`${capitalized(models.words)}.`]),
    ...(see === undefined ? [] : [see]),
    ...(short.length === 0 ? [] : [`Also ${short.map((name) => `\`${name}\``).join(', ')}.`]),
  ];
  return sentences.length === 0 ? summary : `${summary}. ${sentences.join(' ').replace(/\.$/, '')}`;
}
