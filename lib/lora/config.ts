/**
 * The strength of a LoRA, from its file's metadata: `lora_adapter_metadata` is PEFT's configuration as JSON, with the
 * model's name before each field: { "transformer.r": 4, "transformer.lora_alpha": 8, ... }.
 */

import { describeJson, isJsonObject, type JsonObject, type JsonValue, parseJsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';

export interface LoraConfig {
  /** Alpha of a module if the file has no tensor of it; undefined: its rank. */
  alphaOf(module: string): number | undefined;
  /** The rank of a module according to the configuration. */
  rankOf(module: string): number | undefined;
  /** Whether alpha is divided by the square root of the rank. */
  readonly rankStabilised: boolean;
}

const METADATA_KEY = 'lora_adapter_metadata';
const PREFIX = 'transformer.';
const MAX_CHARACTERS = 1_000_000;

/** Options that change the formula W + scale B A, or W itself. */
const OTHER_ADAPTERS = ['use_dora', 'use_qalora', 'use_bdlora', 'lora_bias', 'layer_replication'] as const;
const CHANGED_BASE = /^(pissa|olora|corda|loftq|lora_ga)/;

export function parseLoraConfig(metadata: ReadonlyMap<string, string>, file: string): LoraConfig {
  const text = metadata.get(METADATA_KEY);
  if (text !== undefined && text.length > MAX_CHARACTERS) {
    throw modelError(
      file,
      `${METADATA_KEY} is ${text.length} characters long, more than the ${MAX_CHARACTERS} that are read`,
    );
  }
  const fields = text === undefined ? {} : ownFields(parseJsonObject(text, `${file}, ${METADATA_KEY}`));
  if (Object.keys(fields).length === 0) {
    return { alphaOf: () => undefined, rankOf: () => undefined, rankStabilised: false };
  }
  const error = (field: string, expected: string) =>
    modelError(
      file,
      `${METADATA_KEY} has \`${field}\` ${describeJson(fields[field])}, expected ${expected}`,
      'Save the adapter again with diffusers, as a plain LoRA.',
    );

  for (const option of OTHER_ADAPTERS) {
    const value = fields[option];
    if (value !== undefined && value !== null && value !== false)
      throw error(option, 'false, because it is unsupported');
  }
  const start = fields.init_lora_weights;
  if (typeof start === 'string' && CHANGED_BASE.test(start)) {
    throw error('init_lora_weights', 'a plain initialisation: this one also changes the base weights');
  }
  const { use_rslora: rankStabilised = false } = fields;
  if (typeof rankStabilised !== 'boolean') throw error('use_rslora', 'true or false');

  const number = (field: string, value: JsonValue | undefined, whole: boolean): number => {
    if (typeof value === 'number' && Number.isFinite(value) && (!whole || (Number.isInteger(value) && value > 0))) {
      return value;
    }
    throw error(field, whole ? 'a positive integer' : 'a finite number');
  };
  const patterns = (field: string, whole: boolean): Patterns => {
    const value = fields[field] ?? {};
    if (!isJsonObject(value)) throw error(field, 'an object');
    const found: Patterns = new Map();
    for (const [pattern, entry] of Object.entries(value)) {
      const name = literal(pattern);
      if (name === null) throw error(field, `names of modules, not expressions such as ${describeJson(pattern)}`);
      if (!found.has(name)) found.set(name, { value: number(field, entry, whole), order: found.size });
    }
    return found;
  };
  const alpha = number('lora_alpha', fields.lora_alpha, false);
  const rank = number('r', fields.r, true);
  const alphas = patterns('alpha_pattern', false);
  const ranks = patterns('rank_pattern', true);
  return {
    alphaOf: (module) => firstMatch(alphas, module) ?? alpha,
    rankOf: (module) => firstMatch(ranks, module) ?? rank,
    rankStabilised,
  };
}

/** The fields about the transformer, or all fields if none names a model. */
function ownFields(all: JsonObject): JsonObject {
  const entries = Object.entries(all);
  if (!entries.some(([name]) => /^[a-z_0-9]+\./.test(name))) return all;
  return Object.fromEntries(
    entries.filter(([name]) => name.startsWith(PREFIX)).map(([name, value]) => [name.slice(PREFIX.length), value]),
  );
}

/** Values by a module's whole name, after a '^', or by the end of its name. The first match counts. */
type Patterns = Map<string, { readonly value: number; readonly order: number }>;

/**
 * PEFT's patterns are regular expressions; in practice they are names, with or without backslashes before the dots.
 * Other expressions are not run, because they come from a file. Returns the name, with '^' before it if the whole name
 * must match.
 */
function literal(pattern: string): string | null {
  const [, start = '', name = ''] = /^(\^?)((?:[\w-]|\\?\.)+)\$?$/.exec(pattern) ?? [];
  return name === '' ? null : start + name.replaceAll('\\', '');
}

function firstMatch(patterns: Patterns, module: string): number | undefined {
  const parts = module.split('.');
  const names = [`^${module}`, ...parts.map((_, i) => parts.slice(i).join('.'))];
  const found = names.flatMap((name) => patterns.get(name) ?? []).sort((a, b) => a.order - b.order);
  return found[0]?.value;
}
