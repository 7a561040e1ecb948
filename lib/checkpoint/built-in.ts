/** The models that are part of the package, by name. */

import { join } from 'node:path';
import { packageRoot } from '../base/package.ts';

export const BUILT_IN_MODEL = 'sana-tiny';

/** The folder of a model: that of the built-in one for its name, otherwise the given path. */
export function modelFolder(model: string): string {
  return model === BUILT_IN_MODEL ? join(packageRoot, 'models', BUILT_IN_MODEL) : model;
}
