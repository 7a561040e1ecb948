/** The options of `SanaPipeline.fromPretrained`, checked before any work. */

import { argumentError } from '../errors.ts';
import { checkChoice, checkFunction, checkInteger, checkKeys, checkSignal } from './fields.ts';
import type { DeviceName, LoadOptions } from './types.ts';

const KNOWN = [
  'device',
  'dtype',
  'variant',
  'threads',
  'offload',
  'controlnet',
  'onProgress',
  'signal',
] as const satisfies readonly (keyof LoadOptions)[];

const FOLDERS_ONLY = 'this version loads folders, it does not download models';
const UNAVAILABLE = {
  revision: FOLDERS_ONLY,
  cacheDir: FOLDERS_ONLY,
  localFilesOnly: FOLDERS_ONLY,
  token: FOLDERS_ONLY,
};

/** The options with their defaults filled in. */
export interface CheckedLoadOptions {
  readonly device: DeviceName;
  readonly dtype: NonNullable<LoadOptions['dtype']>;
  readonly variant: string | null; // null: the unsuffixed files
  readonly threads: number; // 0: one per core
  readonly offload: NonNullable<LoadOptions['offload']>;
  readonly controlnet: string | null; // null: the checkpoint's own, if it has one
  readonly onProgress: NonNullable<LoadOptions['onProgress']> | undefined;
  readonly signal: AbortSignal | undefined;
}

export function checkLoadOptions(options: LoadOptions = {}): CheckedLoadOptions {
  checkKeys('options', options, KNOWN, UNAVAILABLE);
  const { device = 'auto', dtype = 'auto', variant, threads, offload = 'none', controlnet } = options;
  const { onProgress, signal } = options;
  if (typeof device !== 'string' || !/^(auto|cpu|cuda(:\d{1,3})?)$/.test(device)) {
    throw argumentError('device', "'auto', 'cpu', 'cuda' or 'cuda:0'", device);
  }
  // A variant becomes part of file names.
  if (variant !== undefined && (typeof variant !== 'string' || !/^[A-Za-z0-9_-]{1,32}$/.test(variant))) {
    throw argumentError('variant', "a word such as 'fp16' or 'bf16'", variant);
  }
  if (controlnet !== undefined && (typeof controlnet !== 'string' || controlnet === '')) {
    throw argumentError('controlnet', 'the path of a folder', controlnet);
  }
  return {
    device,
    dtype: checkChoice('dtype', dtype, ['auto', 'float32', 'bfloat16', 'float16']),
    variant: variant ?? null,
    threads: threads === undefined ? 0 : checkInteger('threads', threads, 1, 1024),
    offload: checkChoice('offload', offload, ['none', 'text-encoder', 'sequential']),
    controlnet: controlnet ?? null,
    onProgress: onProgress === undefined ? undefined : checkFunction('onProgress', onProgress),
    signal: signal === undefined ? undefined : checkSignal('signal', signal),
  };
}
