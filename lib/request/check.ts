/** Checks the fields of a request or of options by their rows, each on its own. */

import { SanaError } from '../base/errors.ts';
import type { Applicability, Checked, Field, Table } from './field.ts';
import type { ModelTraits } from './model-traits.ts';

/** Refuses a field that the model does not take, unless its value asks for nothing. */
export function refuse(name: string, value: unknown, { models }: Field, { kind }: Pick<ModelTraits, 'kind'>): void {
  if (value === undefined || models === undefined || takes(models, kind) || models.neutral?.(value)) return;
  throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: ${models.why}`, {
    hint: `Leave \`${name}\` out, or ${models.remedy}.`,
  });
}

export function takes(models: Applicability | undefined, kind: ModelTraits['kind']): boolean {
  return models === undefined || models.kinds.includes(kind);
}

/** Throws `ERR_SANA_ARGUMENT`, naming the first field that is wrong. Those that rules check are as they were given. */
export function checkFields<T extends Table>(table: T, given: Readonly<Record<string, unknown>>, model: ModelTraits) {
  const checked = Object.entries(table).map(([name, field]) => {
    refuse(name, given[name], field, model);
    const value = given[name] === undefined ? field.default.of?.(model) : given[name];
    if (value === undefined || field.byRule) return [name, value];
    return [name, (field.narrow?.(model) ?? field.type).check(name, value)];
  });
  return Object.fromEntries(checked) as Checked<T>; // each by its row
}

/** The fields of options that no model decides about. */
export function checkOptions<T extends Table>(table: T, given: Readonly<Record<string, unknown>>) {
  const checked = Object.entries(table).map(
    ([
      name,
      {
        type,
        default: { of },
      },
    ]) => {
      const value = given[name] === undefined ? (of as (() => unknown) | undefined)?.() : given[name];
      return [name, value === undefined ? undefined : type.check(name, value)];
    },
  );
  return Object.fromEntries(checked) as Checked<T>; // each by its row
}
