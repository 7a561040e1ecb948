/** The flags of models, requests and adapters, created from the rows of lib/request, and how their values are read. */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { BUILT_IN_MODEL, type GenerateRequest, type LoadOptions } from '../index.ts';
import { type Field, GROUPS, type Group, plain, type Table } from '../request/field.ts';
import { LOAD } from '../request/load-table.ts';
import { REQUEST } from '../request/request-table.ts';
import { integer as integerType, parseNumber, type ValueType } from '../request/value-types.ts';
import { usageError } from './output.ts';

/** The flags as commander parses them: values by field name; false for null and for `--no-NAME`. */
export type FieldFlags = Readonly<Record<string, unknown>>;

export interface ModelFlags extends FieldFlags {
  readonly model?: string;
}

export interface RequestFlags extends FieldFlags {
  /** The file to read them from. */
  readonly latents?: string;
}

/** Adds flags to a command, grouped. */
export function addFlags(command: Command, flags: readonly Option[]): Command {
  const place = ({ helpGroupHeading = '' }: Option) => GROUPS.findIndex((group) => heading(group) === helpGroupHeading);
  for (const option of [...flags].sort((a, b) => place(a) - place(b))) command.addOption(option);
  return command;
}

/** The heading of a group of flags in `--help`. */
export function heading(group: Group): string {
  return `${group}:`;
}

export function modelFlags(): Option[] {
  const help = `checkpoint folder in diffusers layout, or hub repository owner/name (default: '${BUILT_IN_MODEL}', part of the package)`;
  return [new Option('--model <folder>', help).helpGroup(heading('Model')), ...flagsOf(LOAD)];
}

/** `without`: a field for which the command has no flag. */
export function requestFlags(without?: keyof typeof REQUEST): Option[] {
  return flagsOf(Object.fromEntries(Object.entries(REQUEST).filter(([name]) => name !== without)));
}

export function loraFlags(): Option[] {
  const help = 'LoRA adapter and its strength (default: 1); repeatable';
  return [new Option('--lora <file[:scale]>', help).argParser(loras).helpGroup(heading('LoRA'))];
}

function flagsOf(table: Table): Option[] {
  return Object.entries(table).flatMap(([name, field]) =>
    optionsOf(name, field).map((option) => option.helpGroup(heading(field.group))),
  );
}

/** The flags of one field: its own, its alias, and the `--no-` flag. */
function optionsOf(name: string, field: Field): Option[] {
  const { flag, type } = field;
  if (flag === undefined) return [];
  const { value, short, alias, no } = flag;
  const long = `${kebabCase(name)}${value === undefined ? '' : ` ${value}`}`;
  const option = new Option(`${short === undefined ? '' : `${short}, `}--${long}`, helpOf(field));
  const options = [value === undefined ? option : reading(option, type)];
  if (alias !== undefined) {
    const short = new Option(`--${alias} ${value}`, `alias of --${kebabCase(name)}`);
    options.push(reading(short, type).conflicts(name));
  }
  if (no !== undefined) options.push(new Option(`--no-${kebabCase(name)}`, no));
  return options;
}

function reading(option: Option, type: ValueType<unknown>): Option {
  const read = reader(type);
  // Commander cannot hold null: false stands for it, as it does for `--no-NAME`.
  return type.choices === undefined
    ? option.argParser((text) => read(text) ?? false)
    : option.choices([...type.choices]);
}

/** Parses a flag's text as a value of a type. */
function reader<T>({ parse, expected }: ValueType<T>): (text: string) => T {
  return (text) => {
    const value = parse?.(text);
    if (value === undefined) throw new InvalidArgumentError(`Expected ${expected}.`);
    return value as T;
  };
}

/** The help of a flag: the field's summary, its models, more about the flag, and the default. */
function helpOf({ summary, models, default: { words }, flag }: Field): string {
  const parts = [
    summary,
    ...(models === undefined ? [] : [models.words]),
    ...(flag?.help === undefined ? [] : [flag.help]),
  ];
  const known = flag?.value !== undefined && words !== 'none';
  return plain(`${parts.join('; ')}${known ? ` (default: ${words})` : ''}`);
}

export function kebabCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The model to load and the options to load it with. */
export function modelOf(flags: ModelFlags): { model: string; options: LoadOptions } {
  return { model: flags.model ?? BUILT_IN_MODEL, options: fieldsOf(LOAD, flags) };
}

/** The fields of a request that were given as flags, except latents, which are in a file. */
export function requestOf({ latents: _, ...flags }: RequestFlags): Omit<Partial<GenerateRequest>, 'latents'> {
  return fieldsOf(REQUEST, flags);
}

/** The fields of a table that were given as flags. */
function fieldsOf(table: Table, flags: FieldFlags): Readonly<Record<string, unknown>> {
  const entries = Object.entries(table).map(([name, { flag, type }]) => {
    const given = flags[name] ?? (flag?.alias === undefined ? undefined : flags[flag.alias]);
    const takenAway = given === false && type.typescript !== 'boolean';
    return [name, takenAway ? null : given];
  });
  return defined(Object.fromEntries(entries));
}

/** `--lora FILE[:SCALE]`. */
export interface LoraFlag {
  readonly path: string;
  readonly scale?: number;
}

export interface LoraFlags {
  readonly lora?: readonly LoraFlag[];
}

/** The adapters to load. */
export function lorasOf({ lora = [], loraScale }: LoraFlags & RequestFlags): readonly LoraFlag[] {
  if (loraScale === undefined || lora.length > 0) return lora;
  throw usageError('`--lora-scale` needs an adapter', 'Pass it with --lora FILE, or leave --lora-scale out.');
}

/** What follows the last colon is the scale only if it is a number, because paths may contain colons. */
export function loras(text: string, before: readonly LoraFlag[] = []): LoraFlag[] {
  const [, path, number] = /^(.+):([^:]*)$/s.exec(text) ?? [];
  const scaled = path !== undefined && number !== undefined && /^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(number);
  const scale = scaled ? parseNumber(number) : undefined;
  if (scaled && scale === undefined) throw new InvalidArgumentError('Expected a finite number as the scale.');
  const flag = scaled && scale !== undefined ? { path, scale } : { path: text };
  if (flag.path === '') throw new InvalidArgumentError('Expected a .safetensors file, or a folder that contains one.');
  return [...before, flag];
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The same without the fields that are undefined. */
export function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** Parses an integer flag of a command that is not a field. */
export function integer(min: number, max: number): (text: string) => number {
  return reader(integerType(min, max));
}
