/** Checks the fields of a request or of options by their rows, one by one. */

import { SanaError } from '../base/errors.ts';
import type { Applicability, Checked, Field, Table } from './field.ts';
import type { ModelTraits } from './model-traits.ts';

/** Rejects a field that does not apply to the model, unless its value has no effect. */
export function refuse(name: string, value: unknown, { models }: Field, { kind }: Pick<ModelTraits, 'kind'>): void {
  if (value === undefined || models === undefined || takes(models, kind) || models.neutral?.(value)) return;
  throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: ${models.why}`, {
    hint: `Leave \`${name}\` out, or ${models.remedy}.`,
  });
}

export function takes(models: Applicability | undefined, kind: ModelTraits['kind']): boolean {
  return models === undefined || models.kinds.includes(kind);
}

/** Throws `ERR_SANA_ARGUMENT`, naming the first invalid field. Fields with `byRule` are returned as they were given. */
export function checkFields<T extends Table>(table: T, given: Readonly<Record<string, unknown>>, model: ModelTraits) {
  const checked = Object.entries(table).map(([name, field]) => {
    refuse(name, given[name], field, model);
    const value = given[name] === undefined ? field.default.of?.(model) : given[name];
    if (value === undefined || field.byRule) return [name, value];
    return [name, (field.narrow?.(model) ?? field.type).check(name, value)];
  });
  return Object.fromEntries(checked) as Checked<T>; // each by its row
}

/** Checks options that do not depend on a model. */
export function checkOptions<T extends Table>(table: T, given: Readonly<Record<string, unknown>>) {
  const checked = Object.entries(table).map(([name, field]) => {
    const defaultOf = field.default.of as (() => unknown) | undefined;
    const value = given[name] === undefined ? defaultOf?.() : given[name];
    return [name, value === undefined ? undefined : field.type.check(name, value)];
  });
  return Object.fromEntries(checked) as Checked<T>; // each by its row
}
