/** The options of `SanaPipeline.fromPretrained`, checked before any work. */

import { publicDtypeNames } from '../base/dtypes.ts';
import { argumentError } from '../base/errors.ts';
import { checkRevision } from '../hub/repository.ts';
import { checkBoolean, checkChoice, checkFunction, checkInteger, checkKeys, checkSignal } from './fields.ts';
import type { DeviceName, LoadOptions } from './types.ts';

const KNOWN = [
  'device',
  'dtype',
  'variant',
  'revision',
  'cacheDir',
  'localFilesOnly',
  'token',
  'threads',
  'offload',
  'controlnet',
  'instructionCache',
  'onProgress',
  'signal',
] as const satisfies readonly (keyof LoadOptions)[];

/** The options with their defaults filled in. */
export interface CheckedLoadOptions {
  readonly device: DeviceName;
  readonly dtype: NonNullable<LoadOptions['dtype']>;
  readonly variant: string | null; // null: the unsuffixed files
  readonly revision: string | undefined;
  readonly cacheDir: string | undefined;
  readonly localFilesOnly: boolean | undefined;
  readonly token: string | undefined;
  readonly threads: number; // 0: one per core
  readonly offload: NonNullable<LoadOptions['offload']>;
  readonly controlnet: string | null; // null: the checkpoint's own, if it has one
  readonly instructionCache: string | null | undefined; // undefined: where it is worth it
  readonly onProgress: NonNullable<LoadOptions['onProgress']> | undefined;
  readonly signal: AbortSignal | undefined;
}

export function checkLoadOptions(options: LoadOptions = {}): CheckedLoadOptions {
  checkKeys('options', options, KNOWN, {});
  const { device = 'auto', dtype = 'auto', variant, threads, offload = 'none', controlnet } = options;
  const { instructionCache, onProgress, signal } = options;
  if (typeof device !== 'string' || !/^(auto|cpu|cuda(:\d{1,3})?)$/.test(device)) {
    throw argumentError('device', "'auto', 'cpu', 'cuda' or 'cuda:0'", device);
  }
  // A variant becomes part of file names.
  if (variant !== undefined && (typeof variant !== 'string' || !/^[A-Za-z0-9_-]{1,32}$/.test(variant))) {
    throw argumentError('variant', "a word such as 'fp16' or 'bf16'", variant);
  }
  if (controlnet !== undefined && (typeof controlnet !== 'string' || controlnet === '')) {
    throw argumentError('controlnet', 'the path of a folder, or a repository id', controlnet);
  }
  const { revision, cacheDir, localFilesOnly, token } = options;
  // Without the value: it is a secret.
  if (token !== undefined && typeof token !== 'string') throw argumentError('token', 'a string', typeof token);
  return {
    device,
    dtype: checkChoice('dtype', dtype, ['auto', ...publicDtypeNames]),
    variant: variant ?? null,
    revision: revision === undefined ? undefined : checkRevision(checkName('revision', revision)),
    cacheDir: cacheDir === undefined ? undefined : checkName('cacheDir', cacheDir),
    localFilesOnly: localFilesOnly === undefined ? undefined : checkBoolean('localFilesOnly', localFilesOnly),
    token,
    threads: threads === undefined ? 0 : checkInteger('threads', threads, 1, 1024),
    offload: checkChoice('offload', offload, ['none', 'text-encoder', 'sequential']),
    controlnet: controlnet ?? null,
    instructionCache: instructionCache == null ? instructionCache : checkName('instructionCache', instructionCache),
    onProgress: onProgress === undefined ? undefined : checkFunction('onProgress', onProgress),
    signal: signal === undefined ? undefined : checkSignal('signal', signal),
  };
}

function checkName(name: string, value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw argumentError(name, 'a text', value);
  return value;
}
