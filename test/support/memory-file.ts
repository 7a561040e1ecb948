/** A file in memory, checked as strictly as one on a disk. */

import type { NativeFile } from '../../lib/device/native.ts';

export function memoryFile(bytes: Uint8Array, path = 'file.pth'): NativeFile {
  return {
    path,
    bytes: bytes.length,
    async read(offset, length) {
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes.length)) {
        throw new Error(`read of bytes ${offset} to ${offset + length} of ${bytes.length}`);
      }
      return Uint8Array.from(bytes.subarray(offset, offset + length)).buffer;
    },
    close() {},
  };
}
