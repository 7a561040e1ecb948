/** The error of a checkpoint that cannot be used. */

import { SanaError } from './errors.ts';

/** An `ERR_SANA_MODEL` whose message starts with the file it is about. */
export function modelError(file: string, reason: string, hint?: string, cause?: unknown): SanaError {
  return new SanaError('ERR_SANA_MODEL', `${file}: ${reason}`, {
    hint:
      hint ?? 'The file is damaged or not from a SANA checkpoint: download it again, or compare it with the original.',
    ...(cause === undefined ? {} : { cause }),
  });
}
