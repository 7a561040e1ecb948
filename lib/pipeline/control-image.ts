/** The pictures that a request steers a ControlNet by: checked, read, and brought to the size drawn at. */

import { createHash } from 'node:crypto';
import { argumentError, SanaError } from '../errors.ts';
import { readImage } from '../image/input.ts';
import { resizeLanczos } from '../image/lanczos.ts';
import { checkFinite, checkList } from './fields.ts';
import type { CheckedRequest, ModelTraits } from './request.ts';
import type { GenerateRequest, ImageInput, RawImage } from './types.ts';

/** A picture of the size drawn at. */
export interface ControlPicture {
  readonly pixels: RawImage;
  /** Of the RGB bytes of the picture given, before it was resized. */
  readonly sha256: string;
}

/** What a request to a model with a ControlNet says about it. */
export interface ControlRequest {
  /** One for all prompts, or one for each; none where nothing is drawn and none was given. */
  readonly images: readonly ImageInput[];
  readonly scale: number;
  /** Of `images`, once they are read. */
  readonly pictures?: readonly ControlPicture[];
}

/** Checks the fields that only a model with a ControlNet takes. `planned`: nothing is drawn, so a picture may be missing. */
export function checkControl(
  given: Partial<GenerateRequest>,
  prompts: number,
  model: Pick<ModelTraits, 'kind'>,
  planned: boolean,
): ControlRequest | undefined {
  const { controlImage, controlnetConditioningScale: scale = 1 } = given;
  if (model.kind !== 'controlnet') {
    for (const name of ['controlImage', 'controlnetConditioningScale'] as const) {
      if (given[name] === undefined) continue;
      throw new SanaError('ERR_SANA_ARGUMENT', `\`${name}\` cannot be used here: the model has no ControlNet`, {
        hint: `Leave \`${name}\` out, or load a ControlNet: fromPretrained(model, { controlnet: 'path/to/controlnet' }).`,
      });
    }
    return undefined;
  }
  checkFinite('controlnetConditioningScale', scale);
  if (controlImage === undefined) {
    if (planned) return { images: [], scale };
    const hint = 'Pass the picture to draw by, e.g. an edge or scribble map, or load the model without its ControlNet.';
    throw argumentError('controlImage', 'a picture, because the model has a ControlNet', controlImage, hint);
  }
  if (!Array.isArray(controlImage)) return { images: [checkPicture('controlImage', controlImage)], scale };
  const images = checkList('controlImage', controlImage, prompts, prompts);
  return { images: images.map((image, i) => checkPicture(`controlImage[${i}]`, image)), scale };
}

/** What can be told without reading it. */
function checkPicture(name: string, image: unknown): ImageInput {
  if ((typeof image === 'string' && image !== '') || (typeof image === 'object' && image !== null)) {
    return image as ImageInput;
  }
  throw argumentError(
    name,
    'a path, an encoded Buffer, a SanaImage, { width, height, data } or a sharp instance',
    image,
  );
}

/** The request with its control pictures read. */
export async function withControlPictures(request: CheckedRequest): Promise<CheckedRequest> {
  const { control, drawnWidth: width, drawnHeight: height, signal } = request;
  if (control === undefined) return request;
  const pictures: ControlPicture[] = [];
  for (const [i, image] of control.images.entries()) {
    const name = control.images.length === 1 ? 'controlImage' : `controlImage[${i}]`;
    const given = await readImage(image, name);
    signal?.throwIfAborted();
    const sha256 = createHash('sha256').update(given.data).digest('hex');
    // Stretched, as the reference does, whatever the picture's own proportions.
    pictures.push({ pixels: await resizeLanczos(given, { width, height }, signal), sha256 });
  }
  return { ...request, control: { ...control, pictures } };
}

/** The picture that image `index` of a batch is drawn by. */
export function controlPictureOf(request: CheckedRequest, index: number): ControlPicture | undefined {
  const { control, numImagesPerPrompt } = request;
  const { pictures = [] } = control ?? {};
  return pictures.length === 1 ? pictures[0] : pictures[Math.floor(index / numImagesPerPrompt)];
}

/** Pictures that the ControlNet sees: one for all images of a batch, or one for each; 0 without a ControlNet. */
export function controlPictures({ control, batch }: CheckedRequest): number {
  if (control === undefined) return 0;
  return control.images.length > 1 ? batch : 1;
}
