/** The options of `SanaPipeline.fromPretrained`, checked before any work. */

import { checkOptions } from './check.ts';
import type { Checked } from './field.ts';
import { checkKeys } from './fields.ts';
import { LOAD } from './load-table.ts';
import type { LoadOptions } from './types.ts';

/** The options with their defaults filled in. `instructionCache` undefined: only if it saves time. */
export interface CheckedLoadOptions extends Omit<Checked<typeof LOAD>, 'variant' | 'threads' | 'controlnet'> {
  readonly variant: string | null; // null: the unsuffixed files
  readonly threads: number; // 0: one per core
  readonly controlnet: string | null; // null: the checkpoint's own, if it has one
}

export function checkLoadOptions(options: LoadOptions = {}): CheckedLoadOptions {
  checkKeys('options', options, Object.keys(LOAD), {});
  const { variant = null, threads = 0, controlnet = null, ...others } = checkOptions(LOAD, { ...options });
  return { ...others, variant, threads, controlnet };
}
