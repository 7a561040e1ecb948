/** The last stage: from latents to pictures. */

import type { SanaImage } from '../../image/image.ts';
import { decodeImage } from '../decode-image.ts';
import type { DenoiseStage } from './denoise.ts';
import type { PicturesStage } from './pictures.ts';
import type { Job, RunningJob, Stage, StageProgram } from './stage.ts';

export class DecodeStage implements Stage {
  readonly name = 'decode';
  readonly models = ['decoder'] as const;
  readonly largeArena = true;
  readonly leaves = { lastingBytes: 0, generationBytes: 0 };
  /** The result of `run`. */
  readonly images: SanaImage[] = [];
  readonly #job: Job;
  readonly #denoise: DenoiseStage;
  readonly #pictures: PicturesStage | undefined;

  constructor(job: Job, denoise: DenoiseStage, pictures: PicturesStage | undefined) {
    this.#job = job;
    this.#denoise = denoise;
    this.#pictures = pictures;
  }

  /** In bands if decoding a picture as a whole needs more than `freeBytes`. */
  programs(freeBytes: number): readonly StageProgram[] {
    const { parts, request } = this.#job;
    const { height, width } = this.#denoise.shape;
    const tiling = parts.tiling(request.decodeTiling);
    return parts.autoencoder
      .planDecode(height, width, request, freeBytes, tiling)
      .map((program) => ({ ...program, runs: program.runs * request.batch }));
  }

  async run(job: RunningJob): Promise<void> {
    const { latents, shape } = this.#denoise;
    for (let i = 0; i < job.request.batch; i++) {
      this.images.push(await decodeImage(job, latents, i, shape, this.#pictures?.source));
    }
  }

  release(): void {}
}
