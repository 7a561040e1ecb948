/** The models of a pipeline: where they compute, which of them are in memory, and what they make of a request. */

import { join } from 'node:path';
import { cacheFolder } from '../base/cache-folder.ts';
import { version } from '../base/package.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { Autoencoder } from '../models/autoencoder.ts';
import { ControlNetPart } from '../models/controlnet.ts';
import { type Engine, formatBytes } from '../models/engine.ts';
import { InstructionCache } from '../models/instruction-cache.ts';
import { binResolution } from '../models/resolution.ts';
import { TextEncoder } from '../models/text-encoder.ts';
import { referenceTiling, type Tiling } from '../models/tiling.ts';
import { type Denoiser, type DenoiseShape, Transformer } from '../models/transformer.ts';
import { type ActivationDtype, activationDtype, type ModelDtype } from '../networks/weights.ts';
import type { CheckedLoadOptions } from '../request/load-options.ts';
import type { ModelTraits } from '../request/model-traits.ts';
import type { CheckedRequest } from '../request/request.ts';
import type { DecodeTiling } from '../request/types.ts';
import { SCHEDULERS_OF } from '../schedulers/index.ts';

/** Sizes of latents (pixels / 32) for which there is a table of resolutions. */
const binnedSampleSizes = [16, 32, 64, 128];

/** Bytes of a text encoder that computes an instruction about as fast as it is read. */
const SMALL_ENCODER = 256e6;

/** Where instructions are kept on disk: in the folder that is asked for, and without one where it is worth it. */
function instructionsOf(
  { textEncoder: { files } }: Checkpoint,
  { device }: Engine,
  dtype: ActivationDtype,
  asked: CheckedLoadOptions['instructionCache'],
): InstructionCache | undefined {
  const worth = files.reduce((sum, { bytes }) => sum + bytes, 0) >= SMALL_ENCODER;
  const folder = asked ?? (asked === undefined && worth ? join(cacheFolder(), 'instructions') : undefined);
  if (folder === undefined) return undefined;
  const computed = [version, device.info.backend, device.info.path, dtype].join(' ');
  return new InstructionCache(
    folder,
    files.map(({ path }) => path),
    computed,
  );
}

export class Parts {
  readonly engine: Engine;
  readonly checkpoint: Checkpoint;
  readonly dtype: ModelDtype;
  readonly offload: CheckedLoadOptions['offload'];
  readonly textEncoder: TextEncoder;
  readonly transformer: Transformer;
  readonly controlnet: ControlNetPart | undefined;
  readonly autoencoder: Autoencoder;
  #denoiser: Denoiser | undefined;

  constructor(
    engine: Engine,
    checkpoint: Checkpoint,
    dtype: ModelDtype,
    offload: CheckedLoadOptions['offload'],
    trainedInFp16: { readonly transformer: boolean; readonly controlnet: boolean },
    instructionCache: CheckedLoadOptions['instructionCache'],
  ) {
    this.engine = engine;
    this.checkpoint = checkpoint;
    this.dtype = dtype;
    this.offload = offload;
    // Gemma-2 and DC-AE leave the range of f16, as the released models' own instructions have it: bf16 for them.
    const others = dtype === 'f16' ? 'bf16' : activationDtype(dtype);
    this.textEncoder = new TextEncoder(
      engine,
      checkpoint.textEncoder,
      others,
      instructionsOf(checkpoint, engine, others, instructionCache),
    );
    const { transformer, controlnet } = checkpoint;
    this.controlnet =
      controlnet && new ControlNetPart(engine, controlnet, transformer.config, dtype, trainedInFp16.controlnet);
    this.transformer = new Transformer(engine, transformer, dtype, trainedInFp16.transformer, this.controlnet);
    this.autoencoder = new Autoencoder(engine, checkpoint.vae, others);
  }

  /** Are the tensors in the files those of the configurations? Finds out now what loading would find out later. */
  check(): void {
    for (const model of [this.textEncoder, this.transformer, this.autoencoder]) model.check();
    if (this.controlnet === undefined) return;
    this.controlnet.check();
    this.autoencoder.checkEncoder();
  }

  /** What the model decides about a request. */
  get traits(): ModelTraits {
    const { className, transformer, controlnet, textEncoder, scheduler } = this.checkpoint;
    const { sampleSize } = transformer.config;
    return {
      kind: controlnet !== undefined ? 'controlnet' : className === 'SanaSprintPipeline' ? 'sprint' : 'sana',
      nativeSize: sampleSize * this.autoencoder.compression,
      latentChannels: transformer.config.inChannels,
      compression: this.autoencoder.compression,
      maxTextPositions: textEncoder.config.maxPositionEmbeddings,
      defaults: this.checkpoint.generation,
      schedulers: SCHEDULERS_OF[scheduler.className],
      ...(binnedSampleSizes.includes(sampleSize) && {
        bin: ({ width, height }: { width: number; height: number }) => binResolution(sampleSize, height, width),
      }),
    };
  }

  /** Reads the weights that `offload` keeps in memory. */
  async load({ signal, onProgress }: CheckedLoadOptions): Promise<void> {
    const controlnet = this.controlnet;
    const parts = [
      { name: 'text_encoder', model: this.textEncoder, bytes: this.textEncoder.weightBytes },
      { name: 'transformer', model: this.transformer, bytes: this.transformer.weightBytes },
      ...(controlnet === undefined ? [] : [{ name: 'controlnet', model: controlnet, bytes: controlnet.weightBytes }]),
      { name: 'vae', model: this.autoencoder, bytes: this.autoencoder.decoderBytes },
    ];
    const resident = this.offload === 'none' ? parts : this.offload === 'text-encoder' ? parts.slice(1) : [];
    this.engine.demandMemory(
      this.offload === 'sequential'
        ? Math.max(this.denoisingBytes, ...parts.map(({ bytes }) => bytes))
        : resident.reduce((sum, { bytes }) => sum + bytes, 0),
      `Loading the weights (${parts.map(({ name, bytes }) => `${name} ${formatBytes(bytes)}`).join(', ')})`,
      "Free memory, use dtype 'bfloat16' or 'int8', offload: 'text-encoder' or 'sequential', or a smaller model.",
    );
    const totalBytes = resident.reduce((sum, { bytes }) => sum + bytes, 0);
    let before = 0;
    for (const { name, model, bytes } of resident) {
      await model.load(signal, ({ loaded, total }) => {
        onProgress?.({ phase: 'load', component: name, loadedBytes: before + (loaded / total) * bytes, totalBytes });
      });
      before += bytes;
    }
    onProgress?.({ phase: 'ready', loadedBytes: totalBytes, totalBytes });
  }

  /** Weights that a step needs. */
  get denoisingBytes(): number {
    return this.transformer.weightBytes + (this.controlnet?.weightBytes ?? 0);
  }

  /** The denoiser of the last call when it fits, since most calls look like the one before. */
  denoiserFor(shape: DenoiseShape): Denoiser {
    if (this.#denoiser !== undefined && JSON.stringify(this.#denoiser.shape) === JSON.stringify(shape)) {
      return this.#denoiser;
    }
    this.releaseDenoiser();
    this.#denoiser = this.transformer.denoiser(shape);
    return this.#denoiser;
  }

  releaseDenoiser(): void {
    this.#denoiser?.dispose();
    this.#denoiser = undefined;
  }

  /**
   * Gives back what `offload` does not keep between calls. With the intermediates' memory, too: the next call needs the
   * same as the first, which is what `explain` says.
   */
  release(): void {
    if (this.offload === 'none') return;
    this.textEncoder.release();
    this.releaseDenoiser();
    this.engine.arena.dispose();
    if (this.offload === 'text-encoder') return;
    this.transformer.dispose();
    this.controlnet?.dispose();
    this.autoencoder.dispose();
  }

  dispose(): void {
    this.releaseDenoiser();
    this.textEncoder.dispose();
    this.transformer.dispose();
    this.controlnet?.dispose();
    this.autoencoder.dispose();
    this.engine.dispose();
    this.checkpoint.close();
  }

  /** What this pipeline has on the device of what a request needs, beside the arena, and could give back. */
  heldBytes({ image, control }: CheckedRequest): number {
    const denoiser = this.#denoiser === undefined ? 0 : this.#denoiser.stateBytes - this.#denoiser.unallocatedBytes;
    const transformer = this.transformer.loaded ? this.transformer.weightBytes : 0;
    const controlnet = this.controlnet?.loaded ? this.controlnet.weightBytes : 0;
    const encoder = image === undefined && control === undefined ? 0 : this.autoencoder.heldEncoderBytes;
    return this.textEncoder.heldBytes + transformer + controlnet + this.autoencoder.heldBytes + encoder + denoiser;
  }

  /** The reference's tiles where they are asked for. */
  tiling(decodeTiling: DecodeTiling): Tiling | undefined {
    return decodeTiling === 'blend' ? referenceTiling(this.transformer.config.sampleSize) : undefined;
  }
}
