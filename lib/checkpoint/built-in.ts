/** The models that the package itself holds, by the names they are asked for with. */

import { join } from 'node:path';
import { packageRoot } from '../base/package.ts';

export const BUILT_IN_MODEL = 'sana-tiny';

/** The folder of a model: that of the built-in one where its name is given, else what was given. */
export function modelFolder(model: string): string {
  return model === BUILT_IN_MODEL ? join(packageRoot, 'models', BUILT_IN_MODEL) : model;
}
