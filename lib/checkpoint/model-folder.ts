/**
 * A folder whose contents are not trusted: files are found by name, and never outside the folder.
 *
 * Links may point inside the folder or, in a hub cache, to the repository's own `blobs`:
 *   `models--org--name/snapshots/<revision>/vae/config.json -> ../../../blobs/<hash>`.
 */

import { constants, type Dirent } from 'node:fs';
import { open, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { SanaError } from '../base/errors.ts';
import { type JsonObject, parseJsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';

const MAX_JSON_BYTES = 16 * 1024 * 1024; // an index of 100 000 tensors

export class ModelFolder {
  /** The real path of the folder, with links resolved. */
  readonly path: string;
  readonly #blobs: string | null;

  private constructor(path: string, blobs: string | null) {
    this.path = path;
    this.#blobs = blobs;
  }

  /** Opens a folder that must exist. */
  static async open(path: string): Promise<ModelFolder> {
    let real: string;
    try {
      real = await realpath(path);
      if (!(await stat(real)).isDirectory()) throw modelError(path, 'is not a folder');
    } catch (cause) {
      throw cause instanceof SanaError ? cause : fileError(path, cause);
    }
    return new ModelFolder(real, blobsOf(real));
  }

  /** The real path of a regular file, or null if there is no file of that name. */
  async find(name: string): Promise<string | null> {
    const shown = join(this.path, name);
    if (name.includes('\0') || !isInside(this.path, resolve(this.path, name))) {
      throw modelError(this.path, `${JSON.stringify(name)} leads out of the folder`);
    }
    let real: string;
    try {
      real = await realpath(shown);
    } catch (cause) {
      if (isMissing(cause)) return null;
      throw fileError(shown, cause);
    }
    if (!isInside(this.path, real) && !(this.#blobs !== null && isInside(this.#blobs, real))) {
      throw modelError(
        shown,
        'is a link that leads out of the folder',
        'Put the file itself there, or open the folder that the link leads to.',
      );
    }
    try {
      if (!(await stat(real)).isFile()) throw modelError(shown, 'is not a regular file');
    } catch (cause) {
      throw cause instanceof SanaError ? cause : fileError(shown, cause);
    }
    return real;
  }

  /** Names of the files and folders in a folder inside this one; empty if it does not exist. */
  async list(name = '.'): Promise<readonly Dirent[]> {
    try {
      return await readdir(join(this.path, name), { withFileTypes: true });
    } catch (cause) {
      if (isMissing(cause)) return [];
      throw fileError(join(this.path, name), cause);
    }
  }

  /** The bytes of a file of at most `maxBytes`, or null if there is no file of that name. */
  async read(name: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer> | null> {
    const real = await this.find(name);
    if (real === null) return null;
    const shown = join(this.path, name);
    try {
      // What `find` saw may have been replaced since then, so do not follow a link now, and do not wait at a pipe.
      const file = await open(real, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
      try {
        const { size } = await file.stat().then((found) => {
          if (!found.isFile()) throw modelError(shown, 'is not a regular file');
          return found;
        });
        if (size > maxBytes) throw modelError(shown, `is ${size} bytes long, more than the ${maxBytes} that are read`);
        const bytes = new Uint8Array(size);
        let filled = 0;
        while (filled < size) {
          const { bytesRead } = await file.read(bytes, filled, size - filled, filled);
          if (bytesRead === 0) throw modelError(shown, `ended after ${filled} of ${size} bytes`);
          filled += bytesRead;
        }
        return bytes;
      } finally {
        await file.close();
      }
    } catch (cause) {
      throw cause instanceof SanaError ? cause : fileError(shown, cause);
    }
  }

  /** The object in a JSON file, or null if the file does not exist. */
  async readJson(name: string): Promise<JsonObject | null> {
    const bytes = await this.read(name, MAX_JSON_BYTES);
    if (bytes === null) return null;
    const shown = join(this.path, name);
    let text: string;
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch (cause) {
      throw modelError(shown, 'is not UTF-8', undefined, cause);
    }
    return parseJsonObject(text, shown);
  }
}

/** The `blobs` folder of the hub cache repository of which `path` is in a snapshot. */
function blobsOf(path: string): string | null {
  for (let at = path; at !== dirname(at); at = dirname(at)) {
    const parent = dirname(at);
    if (basename(at) === 'snapshots' && basename(parent).startsWith('models--')) return join(parent, 'blobs');
  }
  return null;
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

function isMissing(cause: unknown): boolean {
  const code = (cause as NodeJS.ErrnoException | null)?.code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function fileError(path: string, cause: unknown): SanaError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new SanaError('ERR_SANA_FILE', `${path}: cannot be read: ${reason}`, {
    hint: 'Check that it exists and that you may read it.',
    cause,
  });
}
