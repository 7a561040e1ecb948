/** The control pictures of a request. */

import { argumentError } from '../base/errors.ts';
import { refuse } from './check.ts';
import { checkList } from './fields.ts';
import type { ModelTraits } from './model-traits.ts';
import { DEFAULT_CONDITIONING_SCALE, REQUEST } from './request-table.ts';
import type { RawImage, RequestFields } from './types.ts';

/** The ControlNet's part of a request. */
export interface ControlRequest {
  /** One for all prompts, or one for each; none if the request is only planned and none was given. */
  readonly images: readonly RawImage[];
  readonly scale: number;
}

/** Rejects fields that need a ControlNet if the model has none, before their pictures are read. */
export function refuseControl(given: Partial<RequestFields>, model: Pick<ModelTraits, 'kind'>): void {
  for (const name of ['controlImage', 'controlnetConditioningScale'] as const) {
    refuse(name, given[name], REQUEST[name], model);
  }
}

/** `planned`: nothing is drawn, so a picture may be missing. */
export function checkControl(
  image: RawImage | readonly RawImage[] | undefined,
  scale: number | undefined,
  prompts: number,
  { kind }: Pick<ModelTraits, 'kind'>,
  planned: boolean,
): ControlRequest | undefined {
  if (kind !== 'controlnet') return undefined;
  return { images: imagesOf(image, prompts, planned), scale: scale ?? DEFAULT_CONDITIONING_SCALE };
}

function imagesOf(
  image: RawImage | readonly RawImage[] | undefined,
  prompts: number,
  planned: boolean,
): readonly RawImage[] {
  if (image === undefined) {
    if (planned) return [];
    const hint = 'Pass a control picture, such as an edge or scribble map, or load the model without its ControlNet.';
    throw argumentError('controlImage', 'a picture, because the model has a ControlNet', image, hint);
  }
  if (!isList(image)) return [image];
  checkList('controlImage', image, prompts, prompts);
  return image;
}

function isList(image: RawImage | readonly RawImage[]): image is readonly RawImage[] {
  return Array.isArray(image);
}
