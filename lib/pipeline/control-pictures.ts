/** Which control picture belongs to which image of a batch. */

import type { CheckedRequest } from '../request/request.ts';
import type { RawImage } from '../request/types.ts';

/** The control picture of image `index` of a batch. */
export function controlImageOf({ control, numImagesPerPrompt }: CheckedRequest, index: number): RawImage | undefined {
  const { images = [] } = control ?? {};
  return images.length === 1 ? images[0] : images[Math.floor(index / numImagesPerPrompt)];
}

/** The number of pictures for the ControlNet: one for the whole batch or one per image; 0 without a ControlNet. */
export function controlPictures({ control, batch }: CheckedRequest): number {
  if (control === undefined) return 0;
  return control.images.length > 1 ? batch : 1;
}
