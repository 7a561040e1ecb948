/** Files for tests: fixtures, temporary folders, and weight files opened without the addon. */

import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readTensors, type Tensor } from '../../lib/checkpoint/tensor-file.ts';
import type { NativeFile } from '../../lib/device/native.ts';

export const fixture = (...parts: string[]): string =>
  fileURLToPath(new URL(join('../fixtures', ...parts), import.meta.url));

/** `Addon.openFile` over node:fs, for what is tested without a native build. */
export function openFile(path: string): NativeFile {
  const descriptor = openSync(path, 'r');
  const bytes = fstatSync(descriptor).size;
  let open = true;
  return {
    path,
    bytes,
    async read(offset, length) {
      if (!open) throw new Error('the file was closed');
      const buffer = new ArrayBuffer(length);
      const read = readSync(descriptor, new Uint8Array(buffer), 0, length, offset);
      if (read !== length) throw new Error(`read ${read} of ${length} bytes`);
      return buffer;
    },
    close() {
      if (open) closeSync(descriptor);
      open = false;
    },
  };
}

export const goldenTensors = (name: string): Promise<Map<string, Tensor>> =>
  readTensors(fixture('golden', `${name}.safetensors`), openFile);

/** A temporary folder that goes away with the test: call inside `describe`. */
export function temporaryFolder(): { readonly path: string } {
  const folder = { path: '' };
  before(() => {
    folder.path = mkdtempSync(join(tmpdir(), 'sana-native-'));
  });
  after(() => rmSync(folder.path, { recursive: true, force: true }));
  return folder;
}
