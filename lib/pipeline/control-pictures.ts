/** Which control picture each image of a batch is drawn by. */

import type { CheckedRequest } from '../request/request.ts';
import type { RawImage } from '../request/types.ts';

/** The picture that image `index` of a batch is drawn by. */
export function controlImageOf({ control, numImagesPerPrompt }: CheckedRequest, index: number): RawImage | undefined {
  const { images = [] } = control ?? {};
  return images.length === 1 ? images[0] : images[Math.floor(index / numImagesPerPrompt)];
}

/** Pictures that the ControlNet sees: one for all images of a batch, or one for each; 0 without a ControlNet. */
export function controlPictures({ control, batch }: CheckedRequest): number {
  if (control === undefined) return 0;
  return control.images.length > 1 ? batch : 1;
}
