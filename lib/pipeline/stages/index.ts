/** The stages of a generation: the one list that `generate`, `profile` and `explain` walk. */

import { DecodeStage } from './decode.ts';
import { DenoiseStage } from './denoise.ts';
import { PicturesStage } from './pictures.ts';
import type { Job, Stage } from './stage.ts';
import { TextStage } from './text.ts';

export interface Stages {
  readonly text: TextStage;
  /** Only for requests with pictures. */
  readonly pictures: PicturesStage | undefined;
  readonly denoise: DenoiseStage;
  /** Not for requests for latents. */
  readonly decode: DecodeStage | undefined;
  /** All stages of the request, in order. */
  readonly list: readonly Stage[];
}

export function stagesOf(job: Job): Stages {
  const { image, control, outputType } = job.request;
  const text = new TextStage(job);
  const pictures = image === undefined && control === undefined ? undefined : new PicturesStage(job);
  const denoise = new DenoiseStage(job, text, pictures);
  const decode = outputType === 'image' ? new DecodeStage(job, denoise, pictures) : undefined;
  const list = [text, pictures, denoise, decode].filter((stage) => stage !== undefined);
  return { text, pictures, denoise, decode, list };
}
