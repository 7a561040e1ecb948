/** The file to convert, read through node:fs: converting needs no addon. */

import { close, constants, fstatSync, openSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { SanaError } from '../base/errors.ts';
import type { NativeFile } from '../device/native.ts';

const readAt = promisify(read);

/** Opens a regular file; every read is checked against the size found now. */
export function openInputFile(path: string): NativeFile {
  let descriptor: number | undefined;
  let bytes: number;
  try {
    // O_NONBLOCK: a pipe must be an error, not a wait for a writer.
    descriptor = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const found = fstatSync(descriptor);
    if (!found.isFile()) throw new Error('it is not a regular file');
    bytes = found.size;
  } catch (cause) {
    if (descriptor !== undefined) close(descriptor);
    throw fileError(path, cause);
  }
  let open: number | undefined = descriptor;
  return {
    path,
    bytes,
    async read(offset, length) {
      if (open === undefined) throw fileError(path, new Error('it was closed'));
      if (!(offset >= 0 && length >= 0 && offset + length <= bytes)) {
        throw fileError(path, new RangeError(`bytes ${offset} to ${offset + length} are not inside its ${bytes}`));
      }
      const buffer = new ArrayBuffer(length);
      for (let filled = 0; filled < length; ) {
        const view = new Uint8Array(buffer, filled);
        const { bytesRead } = await readAt(open, view, 0, view.length, offset + filled).catch((cause) => {
          throw fileError(path, cause);
        });
        if (bytesRead === 0) throw fileError(path, new Error(`it became shorter than the ${bytes} bytes it had`));
        filled += bytesRead;
      }
      return buffer;
    },
    close() {
      if (open !== undefined) close(open);
      open = undefined;
    },
  };
}

function fileError(path: string, cause: unknown): SanaError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new SanaError('ERR_SANA_FILE', `${path}: cannot be read: ${reason}`, {
    hint: 'Check that the path is right, and that it is a regular file that you may read.',
    cause,
  });
}
