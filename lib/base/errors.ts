/** The error class of the package, and its stable codes. */

/** Stable error codes: test `error.code`, not the message. */
export type SanaErrorCode =
  | 'ERR_SANA_ARGUMENT' // an invalid argument: which one, what was expected, what was given
  | 'ERR_SANA_MODEL' // a checkpoint that cannot be used: file, tensor, reason
  | 'ERR_SANA_FILE' // a file that cannot be read or written
  | 'ERR_SANA_DOWNLOAD'
  | 'ERR_SANA_INTEGRITY'
  | 'ERR_SANA_ADDON' // the native addon cannot be loaded: what was tried and why each failed
  | 'ERR_SANA_DEVICE' // no such device, or it failed
  | 'ERR_SANA_MEMORY' // not enough memory: required, free, device, suggestion
  | 'ERR_SANA_NUMERICS' // a NaN or infinity: the stage and step where it first appeared
  | 'ERR_SANA_SHAPE' // operands of an operator whose shapes or dtypes do not fit together
  | 'ERR_SANA_PROGRAM' // a program that breaks an operator's contract
  | 'ERR_SANA_DISPOSED' // used after dispose()
  | 'ERR_SANA_CANCELLED'; // internal: becomes `signal.reason` before it reaches a caller

/**
 * The class of all errors that this package throws on purpose.
 *
 * @example
 * try { await SanaPipeline.fromPretrained('./missing'); } catch (e) {
 *   if (e instanceof SanaError && e.code === 'ERR_SANA_MODEL') console.error(e.message, e.hint);
 * }
 */
export class SanaError extends Error {
  override readonly name = 'SanaError';
  readonly code: SanaErrorCode;
  /** What to do about it, in one sentence. */
  readonly hint: string;

  constructor(code: SanaErrorCode, message: string, options: { hint: string; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** What to do about an error of the native code, by its code. */
const nativeHints: Readonly<Record<string, string>> = {
  ERR_SANA_ARGUMENT: 'Correct the argument.',
  ERR_SANA_MODEL: 'The checkpoint is damaged: download it again.',
  ERR_SANA_FILE: 'Check that the path is right, and that it is a regular file that you may read.',
  ERR_SANA_DEVICE: 'Use one of the devices and paths that `sana-native info` lists.',
  ERR_SANA_MEMORY: "Free memory, request a smaller size, or load with offload: 'sequential'.",
  ERR_SANA_DISPOSED: 'Do not use an object after its dispose().',
};

/** Turns an error of the addon into the package's own class: every failed native call goes through it. */
export function nativeError(code: string, message: string): SanaError {
  const hint = nativeHints[code] ?? 'This is a bug in sana-native: please report it.';
  return new SanaError(code as SanaErrorCode, message, { hint });
}

/** An `ERR_SANA_ARGUMENT`: ``Expected `width` to be a multiple of 32 from 32 to 8192, got 1000 (number)``. */
export function argumentError(name: string, expected: string, given: unknown, hint?: string): SanaError {
  return new SanaError('ERR_SANA_ARGUMENT', `Expected \`${name}\` to be ${expected}, got ${describe(given)}`, {
    hint: hint ?? `Pass ${expected} as \`${name}\`.`,
  });
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string')
    return value.length > 60 ? `a string of ${value.length} characters` : `'${value}' (string)`;
  if (typeof value === 'bigint') return `${value}n (bigint)`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'object') return `an object (${value.constructor?.name ?? 'no prototype'})`;
  return `${String(value)} (${typeof value})`;
}
