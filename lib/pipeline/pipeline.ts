/** `SanaPipeline`: from a prompt to a picture. */

import { dtypeOfName, type ModelDtype, publicDtype } from '../base/dtypes.ts';
import { argumentError } from '../base/errors.ts';
import { BUILT_IN_MODEL } from '../checkpoint/built-in.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { wasTrainedInFp16 } from '../checkpoint/fp16.ts';
import type { Vocabulary } from '../checkpoint/vocabulary.ts';
import { openDevice } from '../device/devices.ts';
import { readImage } from '../image/input.ts';
import { Engine } from '../models/engine.ts';
import type { Transformer } from '../models/transformer.ts';
import { DECODE_TILINGS } from '../request/choices.ts';
import { refuseControl } from '../request/control-image.ts';
import { checkChoice } from '../request/fields.ts';
import { type CheckedLoadOptions, checkLoadOptions } from '../request/load-options.ts';
import { checkLoraOptions } from '../request/lora-options.ts';
import { type CheckedRequest, checkRequest } from '../request/request.ts';
import type {
  DecodeTiling,
  ImageInput,
  LoadedLora,
  LoadOptions,
  Lora,
  LoraOptions,
  TensorLike,
} from '../request/types.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { explain } from './explanation.ts';
import { fingerprint } from './fingerprint.ts';
import { checkLoraScale, generate } from './generation.ts';
import { locateControlNet, locateModel } from './model-source.ts';
import { commonParameters } from './parameters.ts';
import { Parts } from './parts.ts';
import { toTensor } from './picture-tensor.ts';
import { padded, tokenize } from './prompts.ts';
import { Queue } from './queue.ts';
import type { Explanation, GenerateRequest, GenerateResult, ProfiledStage, StepInfo } from './results.ts';
import { hasPictures, readPictures } from './source-image.ts';

/** The prompt that `explain` uses if none is given: only its length matters. */
const explainedPrompt = 'a red fox in snow';

/**
 * A loaded SANA model. Overlapping calls are queued and run one after another.
 *
 * @example
 * await using pipe = await SanaPipeline.fromPretrained('path/to/Sana_600M_512px_diffusers');
 * const { images } = await pipe.generate({ prompt: 'a red fox in snow', seed: 7 });
 * await images[0].save('fox.png');
 */
export class SanaPipeline {
  readonly #parts: Parts;
  /** Loaded in its own thread, in parallel with the weights; ready once `fromPretrained` has resolved. */
  #tokenizing: Promise<Tokenizer> | undefined;
  #tokenizer: Tokenizer | undefined;
  /** Aborts what is still loading. */
  readonly #stop = new AbortController();
  readonly #queue = new Queue('The pipeline has been disposed of', 'Load it again with SanaPipeline.fromPretrained.');
  #fingerprint: string | undefined;
  #disposed: Promise<void> | undefined;

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Opens a checkpoint folder in the diffusers layout, checks it completely, and loads its weights. If there is no
   * folder of that name, `owner/name` is a hub repository: the files that are needed and not cached are downloaded into
   * the cache that Python also uses. `'sana-tiny'`, the default, is the small built-in model.
   *
   * @throws SanaError ERR_SANA_ARGUMENT for invalid options, ERR_SANA_MODEL for a folder or file that cannot be used,
   *   ERR_SANA_DEVICE for a device that does not exist or cannot be used, ERR_SANA_MEMORY if the weights do not fit,
   *   ERR_SANA_DOWNLOAD and ERR_SANA_INTEGRITY for a download that fails.
   */
  static async fromPretrained(model: string = BUILT_IN_MODEL, options: LoadOptions = {}): Promise<SanaPipeline> {
    const checked = checkLoadOptions(options);
    const pipeline = await SanaPipeline.#open(model, checked);
    // If one fails, the other is aborted. Both have ended before anything is freed.
    const signal = either(pipeline.#stop.signal, checked.signal);
    const parts = [pipeline.#ready(), pipeline.#parts.load({ ...checked, signal })];
    for (const part of parts) part.catch((error) => pipeline.#stop.abort(error));
    await Promise.allSettled(parts);
    if (!signal.aborted) return pipeline;
    await pipeline.dispose();
    throw signal.reason;
  }

  /**
   * What a request would run on a model, with the LoRA adapters in `loras`, without loading its weights: see the method
   * `explain`.
   *
   * @throws SanaError like `fromPretrained` and `loadLora`, but never for lack of memory.
   */
  static async explain(
    model: string,
    request: string | GenerateRequest = explainedPrompt,
    { loras = [], ...options }: LoadOptions & { readonly loras?: readonly ({ path: string } & LoraOptions)[] } = {},
  ): Promise<Explanation> {
    const pipeline = await SanaPipeline.#open(model, checkLoadOptions(options));
    try {
      await pipeline.#ready();
      const { signal } = options;
      for (const { path, ...lora } of loras) await pipeline.loadLora(path, { ...(signal && { signal }), ...lora });
      return await pipeline.explain(request);
    } finally {
      await pipeline.dispose();
    }
  }

  /** Everything but the weights. */
  static async #open(model: string, options: CheckedLoadOptions): Promise<SanaPipeline> {
    if (typeof model !== 'string' || model === '') {
      throw argumentError('model', `the path of a checkpoint folder, a repository id, or '${BUILT_IN_MODEL}'`, model);
    }
    const { variant, controlnet, signal, onProgress, offload } = options;
    signal?.throwIfAborted();
    const folder = await locateModel(model, options);
    const controlFolder = controlnet === null ? undefined : await locateControlNet(controlnet, options);
    onProgress?.({ phase: 'open', loadedBytes: 0, totalBytes: 0 });
    const checkpoint = await openCheckpoint(folder, {
      ...(variant !== null && { variant }),
      ...(controlFolder !== undefined && { controlnet: controlFolder }),
    });
    let engine: Engine | undefined;
    try {
      engine = new Engine(openDevice(options.device, options.threads === 0 ? undefined : options.threads));
      const dtype = computeDtype(options.dtype, engine);
      const trainedInFp16 = {
        transformer: await wasTrainedInFp16(checkpoint.transformer),
        controlnet: checkpoint.controlnet !== undefined && (await wasTrainedInFp16(checkpoint.controlnet)),
      };
      const parts = new Parts(engine, checkpoint, dtype, offload, trainedInFp16, options.instructionCache);
      parts.check();
      const pipeline = new SanaPipeline(parts);
      pipeline.#tokenizing = Tokenizer.load(checkpoint.tokenizerFolder, {
        signal: either(pipeline.#stop.signal, signal),
      });
      return pipeline;
    } catch (error) {
      engine?.dispose();
      checkpoint.close();
      throw error;
    }
  }

  /** What the model can draw, if it knows only a few subjects and its checkpoint lists them. */
  get vocabulary(): Vocabulary | undefined {
    return this.#parts.checkpoint.vocabulary;
  }

  /** The tokenizer: from text to the ids for the text encoder, including the beginning-of-sequence token. */
  get tokenizer(): { encode(text: string): { ids: number[] } } {
    return this.#loadedTokenizer;
  }

  /** The text encoder by itself. */
  readonly textEncoder = {
    /**
     * Embeddings of prompts: real tokens only, zero-padded to the longest. `embeds` [B, n, C], `mask` [B, n].
     */
    encode: async (request: {
      prompt: string | readonly string[];
      complexHumanInstruction?: readonly string[] | null;
      maxSequenceLength?: number;
      signal?: AbortSignal;
    }): Promise<{ embeds: TensorLike; mask: TensorLike }> => {
      const checked = checkRequest(request, this.#parts.traits, true);
      return await this.#run(async () => {
        const { positive } = await tokenize(this.#loadedTokenizer, { ...checked, guided: false });
        return padded(await this.#parts.textEncoder.encode(positive, checked.signal));
      }, checked.signal);
    },
  };

  /** The transformer by itself: one forward pass, which predicts the velocity. See `Transformer.forward`. */
  readonly transformer = {
    forward: (inputs: Parameters<Transformer['forward']>[0]): Promise<TensorLike> =>
      this.#run(() => this.#parts.transformer.forward(inputs), inputs.signal),
  };

  /** The autoencoder by itself. */
  readonly autoencoder = {
    /** z = latents / scalingFactor, [B, 32, h, w] -> [B, 3, 32h, 32w] in about [-1, 1], not clamped. */
    decode: (z: TensorLike, options: { tiling?: DecodeTiling; signal?: AbortSignal } = {}): Promise<TensorLike> =>
      this.#run(() => this.#parts.autoencoder.decode(z, this.#tilingOptions(options)), options.signal),
    /** A picture, or [B, 3, H, W] in [-1, 1] -> z before scaling, [B, 32, H/32, W/32]. */
    encode: (
      image: ImageInput | TensorLike,
      options: { tiling?: DecodeTiling; signal?: AbortSignal } = {},
    ): Promise<TensorLike> =>
      this.#run(
        async () => await this.#parts.autoencoder.encode(await asTensor(image), this.#tilingOptions(options)),
        options.signal,
      ),
  };

  /**
   * Draws pictures.
   *
   * @throws SanaError ERR_SANA_ARGUMENT before any work, ERR_SANA_MEMORY before the first step if memory is too small,
   *   ERR_SANA_NUMERICS at the first NaN or infinity; `signal.reason` if aborted.
   */
  async generate(request: string | GenerateRequest): Promise<GenerateResult> {
    return await this.#request(request, (checked) => this.#generate(checked));
  }

  /**
   * Loads a LoRA adapter, a .safetensors file or a folder that contains one, and merges it into the transformer.
   * Several adapters add up. Later calls use it and are as fast as without it.
   *
   * @example
   * await pipe.loadLora('watercolour.safetensors', { scale: 0.8 });
   *
   * @throws SanaError ERR_SANA_MODEL that says what in the file does not fit the model; nothing has changed then.
   */
  async loadLora(path: string, options: LoraOptions = {}): Promise<LoadedLora> {
    const checked = checkLoraOptions(path, options);
    return await this.#run(() => this.#parts.transformer.addAdapter(path, checked), checked.signal);
  }

  /** Removes the adapter of that name, or all. Without any, the weights are the checkpoint's again, bit for bit. */
  async unloadLora(name?: string): Promise<void> {
    await this.#run(() => this.#parts.transformer.removeAdapter(name), undefined);
  }

  /** The loaded adapters, in loading order. */
  get loras(): readonly Lora[] {
    return this.#parts.transformer.adapters;
  }

  /**
   * What a request would run, without running it: operators, FLOPs, bytes and memory of every stage. The memory is that
   * of a first call; with offload 'none', later calls reuse the intermediates' memory of earlier calls and keep it.
   */
  async explain(request: string | GenerateRequest = explainedPrompt): Promise<Explanation> {
    return await this.#request(request, (checked) => this.#explain(checked), true);
  }

  /** Runs a request and returns every program that ran, in order, with the time of each operator. */
  async profile(request: string | GenerateRequest): Promise<ProfiledStage[]> {
    return await this.#request(request, (checked) => this.#parts.engine.profile(() => this.#generate(checked)));
  }

  /** Waits for the running call, rejects queued calls, and frees all memory. May be called more than once. */
  async dispose(): Promise<void> {
    this.#disposed ??= this.#queue.close().then(() => {
      this.#tokenizer?.dispose();
      this.#parts.dispose();
    });
    await this.#disposed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  /**
   * Runs a request after those before it. It is queued at once, and its pictures are read at once, so that changes to
   * their files while it waits make no difference and errors are reported before its turn.
   */
  async #request<T>(
    request: string | GenerateRequest,
    body: (checked: CheckedRequest<StepInfo>) => Promise<T>,
    planned = false,
  ): Promise<T> {
    if (!hasPictures(request)) {
      const checked = checkRequest<StepInfo>(request, this.#parts.traits, planned);
      return await this.#run(() => body(checked), checked.signal);
    }
    refuseControl(request, this.#parts.traits);
    const checking = readPictures(request).then((read) => checkRequest(read, this.#parts.traits, planned));
    const signal = request.signal instanceof AbortSignal ? request.signal : undefined;
    const running = this.#run(async () => await body(await checking), signal);
    const [, result] = await Promise.all([checking, running]);
    return result;
  }

  /** Runs a call after those before it, then frees what `offload` does not keep, whether the call succeeded or not. */
  async #run<T>(call: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return await this.#queue.run(async () => {
      try {
        return await call();
      } finally {
        this.#parts.release();
      }
    }, signal);
  }

  get #loadedTokenizer(): Tokenizer {
    if (this.#tokenizer === undefined) throw new Error('#ready() comes first');
    return this.#tokenizer;
  }

  async #ready(): Promise<void> {
    this.#tokenizer = await this.#tokenizing;
  }

  async #generate(request: CheckedRequest<StepInfo>): Promise<GenerateResult> {
    this.#fingerprint ??= await fingerprint(this.#parts.checkpoint);
    const parameters = commonParameters(this.#parts, request, this.#fingerprint);
    return await generate(this.#parts, this.#loadedTokenizer, request, parameters);
  }

  #tilingOptions({ tiling = 'auto', signal }: { tiling?: DecodeTiling; signal?: AbortSignal }) {
    return { tiling: this.#parts.tiling(checkChoice('tiling', tiling, DECODE_TILINGS)), signal };
  }

  async #explain(request: CheckedRequest<StepInfo>): Promise<Explanation> {
    const parts = this.#parts;
    checkLoraScale(parts, request);
    return explain({ parts, request, tokens: await tokenize(this.#loadedTokenizer, request) });
  }
}

function either(one: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? one : AbortSignal.any([one, other]);
}

function computeDtype(asked: CheckedLoadOptions['dtype'], { device, deviceId }: Engine): ModelDtype {
  const { defaultDtype, refusals } = device.info;
  if (asked === 'auto') return defaultDtype;
  const dtype = dtypeOfName(asked);
  const refusal = refusals[dtype];
  if (refusal === undefined) return dtype;
  const others = (['f16', 'i8', 'f8'] as const).filter((other) => refusals[other] === undefined).map(publicDtype);
  const able = ['auto', 'float32', 'bfloat16', ...others].map((name) => `'${name}'`);
  const last = able.pop();
  const expected = `${able.join(', ')} or ${last} on ${deviceId === 'cpu' ? 'the CPU' : deviceId}`;
  const hint = refusal.code === 'ERR_SANA_DEVICE' ? `${refusal.reason}.` : undefined;
  throw argumentError('dtype', expected, asked, hint);
}

async function asTensor(image: ImageInput | TensorLike): Promise<TensorLike> {
  if (typeof image === 'object' && image !== null && 'shape' in image && 'data' in image) return image as TensorLike;
  return await toTensor(await readImage(image as ImageInput));
}
