/** What the commands print: data on standard output, everything else on standard error. */

import { CommanderError } from 'commander';
import { SanaError } from '../index.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { Interrupted } from './interrupt.ts';

/**
 * Characters that could control a terminal: control characters except line breaks and tabs, and marks that change the
 * text direction.
 */
const CONTROLS = /[^\P{Cc}\n\t]|[\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Text from outside, safe to print. */
export function printable(text: string): string {
  return text.replaceAll(CONTROLS, '');
}

/** JSON that means the same and is safe to print: `JSON.stringify` escapes the first 32 control characters only. */
export function printableJson(value: unknown): string {
  const json = JSON.stringify(value, (_, field) => (typeof field === 'bigint' ? String(field) : field), 2);
  return json.replaceAll(CONTROLS, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Settles once the bytes are handed over, so that the end of the process does not cut off a large image. */
export async function writeOutput(data: string | Uint8Array): Promise<void> {
  await new Promise<void>((done, fail) => process.stdout.write(data, (error) => (error ? fail(error) : done())));
}

export async function printLines(lines: readonly string[]): Promise<void> {
  await writeOutput(lines.map((line) => `${printable(line)}\n`).join(''));
}

export async function printJson(value: unknown): Promise<void> {
  await writeOutput(`${printableJson(value)}\n`);
}

/** A message that is not an error. */
export function warn(message: string): void {
  process.stderr.write(`sana-native: ${printable(message)}\n`);
}

/** Wrong use of the command line. */
export function usageError(message: string, hint: string): SanaError {
  return new SanaError('ERR_SANA_ARGUMENT', message, { hint });
}

/**
 * Reports the error that ended the command, as JSON on standard output or as text on standard error, and returns its
 * exit code.
 */
export async function reportError(error: unknown, json: boolean): Promise<number> {
  const { code, message, hint } = describeError(error);
  if (json) await printJson({ error: { code, message, hint } });
  else process.stderr.write(`sana-native: ${printable(message)}\n${hint === '' ? '' : `  ${printable(hint)}\n`}`);
  return error instanceof Interrupted ? EXIT.interrupted : exitCodeOf(code);
}

function describeError(error: unknown): { code: string; message: string; hint: string } {
  // By code, not by class: errors of the addon have the codes without being of the class.
  if (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_SANA_')) {
    return { code: String(error.code), message: error.message, hint: 'hint' in error ? String(error.hint) : '' };
  }
  if (error instanceof Interrupted) return { code: 'ERR_SANA_CANCELLED', message: error.message, hint: '' };
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, '').replace(/^./, (first) => first.toUpperCase());
    const [first = message, ...more] = message.split('\n');
    const suggestion = more.join(' ').replace(/^\((.*)\)$/, '$1');
    const general =
      error.code === 'commander.excessArguments'
        ? 'Put quotes around a prompt of several words.'
        : 'See sana-native --help.';
    return { code: 'ERR_SANA_ARGUMENT', message: first, hint: suggestion === '' ? general : suggestion };
  }
  // Not thrown on purpose: a bug report needs the stack.
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'ERR_UNEXPECTED', message, hint: 'This is a bug in sana-native: please report it.' };
}
