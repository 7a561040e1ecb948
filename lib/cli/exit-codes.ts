/** The exit code of the process, by the code of the error that ended it. */

import type { SanaErrorCode } from '../index.ts';

export const EXIT = { done: 0, failed: 1, usage: 2, device: 3, memory: 4, model: 5, interrupted: 130 } as const;

const BY_CODE: Readonly<Record<SanaErrorCode, number>> = {
  ERR_SANA_ARGUMENT: EXIT.usage,
  ERR_SANA_MODEL: EXIT.model,
  ERR_SANA_FILE: EXIT.failed,
  ERR_SANA_DOWNLOAD: EXIT.failed,
  ERR_SANA_INTEGRITY: EXIT.model,
  ERR_SANA_ADDON: EXIT.device,
  ERR_SANA_DEVICE: EXIT.device,
  ERR_SANA_MEMORY: EXIT.memory,
  ERR_SANA_NUMERICS: EXIT.failed,
  ERR_SANA_SHAPE: EXIT.failed,
  ERR_SANA_PROGRAM: EXIT.failed,
  ERR_SANA_DISPOSED: EXIT.failed,
  ERR_SANA_CANCELLED: EXIT.interrupted,
};

export function exitCodeOf(code: string): number {
  return Object.hasOwn(BY_CODE, code) ? BY_CODE[code as SanaErrorCode] : EXIT.failed;
}
