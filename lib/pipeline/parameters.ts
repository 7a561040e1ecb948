/** The record of how an image was made, which is kept with it. */

import { createHash } from 'node:crypto';
import { basename, resolve } from 'node:path';
import { publicDtype } from '../base/dtypes.ts';
import { version } from '../base/package.ts';
import { repositoryOfSnapshot } from '../hub/repository.ts';
import { type CommonParameters, recordOf } from '../request/record.ts';
import type { CheckedRequest } from '../request/request.ts';
import type { Parts } from './parts.ts';

export type { CommonParameters };

/** Together with prompts and seed, enough to make the images of a call again. */
export function commonParameters(
  { checkpoint, transformer, engine, dtype }: Parts,
  request: CheckedRequest,
  modelFingerprint: string,
): CommonParameters {
  const madeOn = {
    model: nameOf(checkpoint),
    modelFingerprint,
    dtype: publicDtype(dtype),
    devicePath: engine.device.info.path,
    version,
    loras: transformer.adapters,
  };
  return recordOf(request, madeOn, sha256);
}

/** The name of the repository or of the folder, never a path. */
export function nameOf({ folder }: { readonly folder: string }): string {
  const path = resolve(folder);
  return repositoryOfSnapshot(path) ?? basename(path);
}

export function sha256(data: NodeJS.ArrayBufferView): string {
  return createHash('sha256').update(data).digest('hex');
}
