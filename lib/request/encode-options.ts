/** The options of `SanaImage.save` and `toBuffer`, checked before any work. */

import { checkOptions } from './check.ts';
import { DEFAULT_QUALITY, ENCODE, type EncodedFormat, type EncodeField } from './encode-table.ts';
import type { Checked } from './field.ts';
import { checkKeys } from './fields.ts';
import type { EncodeOptions } from './types.ts';

export const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const satisfies readonly EncodedFormat[];

export interface CheckedEncodeOptions extends Omit<Checked<typeof ENCODE>, 'quality'> {
  readonly quality: number; // has no effect for PNG
}

/** Rejects fields that do not apply to the format. */
export function checkEncodeOptions(format: EncodedFormat, options: EncodeOptions): CheckedEncodeOptions {
  const rows = Object.entries<EncodeField>(ENCODE);
  const known = rows.filter(([, { formats }]) => formats.includes(format)).map(([name]) => name);
  const unavailable = rows.map(([name, { why }]) => [name, `${format} ${why}`]);
  checkKeys('options', options, known, Object.fromEntries(unavailable));
  const { quality = DEFAULT_QUALITY[format], ...others } = checkOptions(ENCODE, { ...options });
  return { ...others, quality };
}
