/**
 * JSON Schemas of what can be passed as JSON: a request, and the options for loading. Fields that JSON cannot hold are
 * left out: callbacks, signals, latents and pictures, which a service receives in its own way.
 */

import { takes } from './check.ts';
import { capitalized, type Field, plain, type Table } from './field.ts';
import { LOAD } from './load-table.ts';
import type { ModelTraits } from './model-traits.ts';
import { REQUEST } from './request-table.ts';
import type { JsonSchema } from './value-types.ts';

/**
 * With `traits`, only the fields that apply to that model. In a valid request, each field by itself is right:
 * `checkRequest` checks the rules that involve several fields.
 */
export function requestSchema(traits?: ModelTraits): JsonSchema {
  const rows = Object.entries<Field>(REQUEST).filter(
    ([, { models }]) => traits === undefined || takes(models, traits.kind),
  );
  return { ...schemaOf('A request to draw pictures', Object.fromEntries(rows), traits), required: ['prompt'] };
}

export function loadOptionsSchema(): JsonSchema {
  return schemaOf('Options of loading a model', LOAD);
}

function schemaOf(title: string, table: Table, traits?: ModelTraits): JsonSchema {
  const properties = Object.entries(table).flatMap(([name, field]) => {
    const { schema } = (traits !== undefined && field.narrow?.(traits)) || field.type;
    return schema === undefined
      ? []
      : [[name, { description: plain(descriptionOf(field)), ...schema, ...defaultOf(field, traits) }]];
  });
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title,
    type: 'object',
    properties: Object.fromEntries(properties),
    additionalProperties: false,
  };
}

/** Summary, details and default, in Markdown. */
export function descriptionOf({ summary, details, default: { words } }: Field): string {
  const sentences = [
    `${capitalized(summary)}.`,
    ...(details === undefined ? [] : [details]),
    ...(words === 'none' || words === 'required' ? [] : [`Default: ${words}.`]),
  ];
  return sentences.join(' ');
}

/** The default's value, if it is the same for every model or the model is known. */
function defaultOf({ default: { of } }: Field, traits: ModelTraits | undefined): JsonSchema {
  const value = of === undefined ? undefined : of.length === 0 ? (of as () => unknown)() : traits && of(traits);
  return value === undefined ? {} : { default: value };
}
