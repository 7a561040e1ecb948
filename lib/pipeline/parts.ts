/** The models of a pipeline: their device, which of them are in memory, and what they require of a request. */

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
import type { DecodeTiling } from '../request/types.ts';
import { SCHEDULERS_OF } from '../schedulers/index.ts';
import {
  isPreloaded,
  type ModelName,
  type ModelWeights,
  OFFLOAD_POLICIES,
  type Offload,
  type OffloadPolicy,
} from './offload.ts';

/** The latent sizes (pixels / 32) that have a table of resolutions. */
const binnedSampleSizes = [16, 32, 64, 128];

/** Below this size in bytes, a text encoder computes an instruction about as fast as it can be read from disk. */
const SMALL_ENCODER = 256e6;

/** Where instructions are kept on disk: in the requested folder; if none is given, in the cache if that saves time. */
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

function modelsOf({ textEncoder, transformer, controlnet, autoencoder }: Omit<Parts, 'models'>): ModelWeights[] {
  const weights = (
    name: ModelName,
    component: string,
    model: Pick<ModelWeights, 'loaded' | 'load' | 'release'> & { readonly weightBytes: number },
  ): ModelWeights => ({
    name,
    component,
    bytes: model.weightBytes,
    get loaded() {
      return model.loaded;
    },
    load: (signal, onProgress) => model.load(signal, onProgress),
    release: () => model.release(),
  });
  return [
    weights('textEncoder', 'text_encoder', textEncoder),
    weights('transformer', 'transformer', transformer),
    ...(controlnet === undefined ? [] : [weights('controlnet', 'controlnet', controlnet)]),
    weights('decoder', 'vae', autoencoder.decoder),
    weights('encoder', 'vae', autoencoder.encoder),
  ];
}

export class Parts {
  readonly engine: Engine;
  readonly checkpoint: Checkpoint;
  readonly dtype: ModelDtype;
  readonly policy: OffloadPolicy;
  readonly textEncoder: TextEncoder;
  readonly transformer: Transformer;
  readonly controlnet: ControlNetPart | undefined;
  readonly autoencoder: Autoencoder;
  /** The weights of each model, in loading order. */
  readonly models: readonly ModelWeights[];
  #denoiser: Denoiser | undefined;

  constructor(
    engine: Engine,
    checkpoint: Checkpoint,
    dtype: ModelDtype,
    offload: Offload,
    trainedInFp16: { readonly transformer: boolean; readonly controlnet: boolean },
    instructionCache: CheckedLoadOptions['instructionCache'],
  ) {
    this.engine = engine;
    this.checkpoint = checkpoint;
    this.dtype = dtype;
    this.policy = OFFLOAD_POLICIES[offload];
    // Gemma-2 and DC-AE leave the range of f16, and the released models are documented to run them in bf16.
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
    this.models = modelsOf(this);
  }

  /** Checks that the files have the tensors that the configurations require, before anything is loaded. */
  check(): void {
    for (const model of [this.textEncoder, this.transformer, this.autoencoder.decoder]) model.check();
    if (this.controlnet === undefined) return;
    this.controlnet.check();
    this.autoencoder.encoder.check();
  }

  /** The properties of the model that requests are checked against. */
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

  /** Reads the weights that stay in memory. */
  async load({ signal, onProgress }: CheckedLoadOptions): Promise<void> {
    const preloaded = this.models.filter(({ name }) => isPreloaded(name, this.policy));
    const totalBytes = preloaded.reduce((sum, { bytes }) => sum + bytes, 0);
    const parts = this.models.filter(({ name }) => name !== 'encoder');
    this.engine.demandMemory(
      Math.max(totalBytes, this.#denoisingBytes, ...parts.map(({ bytes }) => bytes)),
      `Loading the weights (${parts.map(({ component, bytes }) => `${component} ${formatBytes(bytes)}`).join(', ')})`,
      "Free memory, use dtype 'bfloat16' or 'int8', offload: 'text-encoder' or 'sequential', or a smaller model.",
    );
    let before = 0;
    for (const { component, bytes, load } of preloaded) {
      await load(signal, ({ loaded, total }) => {
        onProgress?.({ phase: 'load', component, loadedBytes: before + (loaded / total) * bytes, totalBytes });
      });
      before += bytes;
    }
    onProgress?.({ phase: 'ready', loadedBytes: totalBytes, totalBytes });
  }

  /** The last call's denoiser if its shape is the same, as it is for most calls; otherwise a newly recorded one. */
  findDenoiser(shape: DenoiseShape): Denoiser {
    if (this.#denoiser !== undefined && JSON.stringify(this.#denoiser.shape) === JSON.stringify(shape)) {
      return this.#denoiser;
    }
    return this.transformer.denoiser(shape);
  }

  /** Keeps a denoiser for later calls, instead of the previous one. */
  keepDenoiser(denoiser: Denoiser): void {
    if (denoiser !== this.#denoiser) this.releaseDenoiser();
    this.#denoiser = denoiser;
  }

  releaseDenoiser(): void {
    this.#denoiser?.dispose();
    this.#denoiser = undefined;
  }

  /**
   * Frees what the policy does not keep between calls, whether a call succeeded or not. The next call then needs the
   * same memory as the first one, which is what `explain` reports.
   */
  release(): void {
    if (this.policy.generationMemory === 'next call') return;
    this.releaseDenoiser();
    this.engine.arena.dispose();
    for (const { name, release } of this.models) if (!this.policy.keeps(name)) release();
  }

  dispose(): void {
    this.releaseDenoiser();
    this.textEncoder.dispose();
    this.transformer.release();
    this.controlnet?.release();
    this.autoencoder.dispose();
    this.engine.dispose();
    this.checkpoint.close();
  }

  /** Bytes on the device that this pipeline could reuse or free: weights of these models, instructions, denoiser. */
  heldBytes(names: readonly ModelName[]): number {
    const denoiser = this.#denoiser === undefined ? 0 : this.#denoiser.stateBytes - this.#denoiser.unallocatedBytes;
    const weights = this.models
      .filter(({ name, loaded }) => loaded && names.includes(name))
      .reduce((sum, { bytes }) => sum + bytes, 0);
    return weights + this.textEncoder.heldInstructionBytes + denoiser;
  }

  /** The weights that a step needs. */
  get #denoisingBytes(): number {
    return this.transformer.weightBytes + (this.controlnet?.weightBytes ?? 0);
  }

  /** The reference's tiles, if requested. */
  tiling(decodeTiling: DecodeTiling): Tiling | undefined {
    return decodeTiling === 'blend' ? referenceTiling(this.transformer.config.sampleSize) : undefined;
  }
}
