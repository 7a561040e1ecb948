/** The pictures that a request steers a ControlNet by. */

import { argumentError, SanaError } from '../base/errors.ts';
import { checkFinite, checkList } from './fields.ts';
import type { ModelTraits } from './model-traits.ts';
import type { RawImage, ReadRequest, RequestFields } from './types.ts';

/** What a request to a model with a ControlNet says about it. */
export interface ControlRequest {
  /** One for all prompts, or one for each; none where nothing is drawn and none was given. */
  readonly images: readonly RawImage[];
  readonly scale: number;
}

/** Refuses the fields that only a model with a ControlNet takes, before their pictures are read. */
export function refuseControl(given: Partial<RequestFields>, { kind }: Pick<ModelTraits, 'kind'>): void {
  for (const name of ['controlImage', 'controlnetConditioningScale'] as const) {
    if (given[name] === undefined || kind === 'controlnet') continue;
    throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: the model has no ControlNet`, {
      hint: `Leave \`${name}\` out, or load a ControlNet: fromPretrained(model, { controlnet: 'path/to/controlnet' }).`,
    });
  }
}

/** `planned`: nothing is drawn, so a picture may be missing. */
export function checkControl(
  given: Partial<ReadRequest>,
  prompts: number,
  model: Pick<ModelTraits, 'kind'>,
  planned: boolean,
): ControlRequest | undefined {
  refuseControl(given, model);
  if (model.kind !== 'controlnet') return undefined;
  const { controlImage, controlnetConditioningScale = 1 } = given;
  const scale = checkFinite('controlnetConditioningScale', controlnetConditioningScale);
  if (controlImage === undefined) {
    if (planned) return { images: [], scale };
    const hint = 'Pass the picture to draw by, e.g. an edge or scribble map, or load the model without its ControlNet.';
    throw argumentError('controlImage', 'a picture, because the model has a ControlNet', controlImage, hint);
  }
  if (!isList(controlImage)) return { images: [controlImage], scale };
  checkList('controlImage', controlImage, prompts, prompts);
  return { images: controlImage, scale };
}

function isList(image: RawImage | readonly RawImage[]): image is readonly RawImage[] {
  return Array.isArray(image);
}
