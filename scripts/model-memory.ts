/**
 * Prints what every released repository holds, takes and defaults to, as planned: the tables of docs/models.md. Nothing
 * is downloaded, allocated or run.
 *
 *     npx tsx scripts/model-memory.ts [--dtype f32]
 *
 * The memory is that of one picture of the default prompt with the default request, as `explain` predicts it, but for
 * the device's own scratch memory. `bands` is with the least memory that decoding can do with, and not with what
 * happens to be free.
 */

import { dirname } from 'node:path';
import { Command, Option } from 'commander';
import { SanaTransformer } from '../lib/models/sana-transformer.ts';
import { Autoencoder } from '../lib/pipeline/autoencoder.ts';
import { Engine } from '../lib/pipeline/engine.ts';
import { explain } from '../lib/pipeline/explain.ts';
import { tokenize } from '../lib/pipeline/prompts.ts';
import { checkRequest, type ModelTraits } from '../lib/pipeline/request.ts';
import { TextEncoder } from '../lib/pipeline/text-encoder.ts';
import { Denoiser } from '../lib/pipeline/transformer.ts';
import type { SchedulerConfig } from '../lib/runtime/configs.ts';
import { openDevice } from '../lib/runtime/devices.ts';
import { Tokenizer } from '../lib/text/tokenizer.ts';
import { components, gemmaTokenizerFile } from './random-checkpoint/checkpoint.ts';
import { releasedConfigs } from './random-checkpoint/configs.ts';
import { parsedConfigs, withoutWeights } from './random-checkpoint/released.ts';
import { type Release, releases } from './random-checkpoint/releases.ts';
import { parameterCount } from './random-checkpoint/tensors.ts';

type DType = 'bf16' | 'f32';

const kPrompt = 'a red fox in snow';
const kSizes = [512, 1024, 2048, 4096] as const;
const kLatentScale = 32;

const kSamplers: Readonly<Record<SchedulerConfig['className'], ModelTraits['schedulers']>> = {
  DPMSolverMultistepScheduler: ['flow-dpm-solver'],
  FlowMatchEulerDiscreteScheduler: ['flow-euler'],
  SCMScheduler: ['scm'],
};

/** What is printed, for the repositories that `wanted` picks, with the tokens of another tokenizer if need be. */
export async function modelTables(
  dtype: DType,
  wanted: (release: Release) => boolean = () => true,
  tokenizerFolder = dirname(gemmaTokenizerFile()),
): Promise<string> {
  const engine = new Engine(openDevice('cpu'));
  const tokenizer = await Tokenizer.load(tokenizerFolder);
  try {
    const planner = new Planner(engine, tokenizer);
    const chosen = releases.filter(wanted);
    const memory: string[][] = [];
    for (const release of chosen) {
      // What a ControlNet adds is in docs/controlnet.md.
      for (const size of kSizes) {
        if (size <= release.size && !release.controlnet) memory.push(await planner.memoryRow(release, size, dtype));
      }
    }
    return [
      table(
        ['repository', 'kind', 'parameters', 'bf16', 'f32', 'steps', 'guidance', 'sampler', 'shift'],
        chosen.map((release) => planner.release(release)),
      ),
      table(['repository', 'kind', 'drawn at', 'none', 'none, bands', 'sequential', 'sequential, bands'], memory),
      planner.shared(),
    ].join('\n');
  } finally {
    tokenizer.dispose();
    engine.dispose();
  }
}

class Planner {
  readonly #engine: Engine;
  readonly #tokenizer: Tokenizer;
  /** Rows that several repositories have in common: they hold the same model. */
  readonly #rows = new Map<string, Promise<string[]>>();

  constructor(engine: Engine, tokenizer: Tokenizer) {
    this.#engine = engine;
    this.#tokenizer = tokenizer;
  }

  /** Parameters, bytes of the transformer's weights as they are held, and the defaults of a request. */
  release(release: Release): string[] {
    const { repository, model, size, controlnet = false } = release;
    const parts = components(releasedConfigs(model, size, 2, { controlnet }));
    const counts = parts
      .filter(({ folder }) => folder === 'transformer' || folder === 'controlnet')
      .map(({ tensors }) => parameterCount(tensors).toLocaleString('en'));
    const { transformer, scheduler } = parsedConfigs(model, size);
    const held = (dtype: DType) =>
      controlnet ? '' : gigabytes(new SanaTransformer(this.#engine.device, transformer, dtype).weights.bytes);
    const { numInferenceSteps, guidanceScale, scheduler: sampler } = checkRequest(kPrompt, traitsOf(release));
    return [
      repository,
      kindOf(release),
      counts.join(' + '),
      held('bf16'),
      held('f32'),
      String(numInferenceSteps),
      String(guidanceScale),
      sampler,
      scheduler.className === 'DPMSolverMultistepScheduler' ? String(scheduler.flowShift) : '',
    ];
  }

  /** The peak of drawing one picture, in the four ways there are. */
  async memoryRow(release: Release, size: number, dtype: DType): Promise<string[]> {
    const key = `${release.model} ${release.size} ${size}`;
    const known = this.#rows.get(key) ?? this.#peaks(release, size, dtype);
    this.#rows.set(key, known);
    return [release.repository, kindOf(release), `${size} x ${size}`, ...(await known)];
  }

  async #peaks(release: Release, size: number, dtype: DType): Promise<string[]> {
    const configs = parsedConfigs(release.model, release.size);
    const transformer = new SanaTransformer(this.#engine.device, configs.transformer, dtype);
    const textEncoder = new TextEncoder(this.#engine, withoutWeights(configs.textEncoder), dtype);
    const autoencoder = new Autoencoder(this.#engine, withoutWeights(configs.autoencoder), dtype);
    const request = checkRequest({ prompt: kPrompt, width: size, height: size }, traitsOf(release));
    const { positive, negative } = await tokenize(this.#tokenizer, request);
    const denoiser = new Denoiser(this.#engine, transformer, {
      images: request.batch,
      height: request.drawnHeight / kLatentScale,
      width: request.drawnWidth / kLatentScale,
      lengths: [...negative, ...positive].map(({ positions }) => positions.length),
      guidance: request.guided,
      perturbedBlocks: [],
      controlPictures: 0,
    });
    const peak = (offload: 'none' | 'sequential', reachableBytes: number) =>
      explain({
        request,
        positive,
        negative,
        offload,
        textEncoder,
        denoiser,
        loraMerge: undefined,
        denoisingBytes: transformer.weights.bytes,
        autoencoder,
        tiling: undefined,
        reachableBytes,
        workspaceBytes: 0,
        model: release.repository,
        device: 'cpu',
        devicePath: '',
        dtype: dtype === 'f32' ? 'float32' : 'bfloat16',
      }).memory.peakBytes;
    const all = Number.POSITIVE_INFINITY;
    return [peak('none', all), peak('none', 0), peak('sequential', all), peak('sequential', 0)].map(gigabytes);
  }

  /** The weights that are the same everywhere. */
  shared(): string {
    const { textEncoder, autoencoder } = parsedConfigs('0.6b', 1024);
    const held = (dtype: DType) => {
      const { decoderBytes, encoderBytes } = new Autoencoder(this.#engine, withoutWeights(autoencoder), dtype);
      const { weightBytes } = new TextEncoder(this.#engine, withoutWeights(textEncoder), dtype);
      return [weightBytes, decoderBytes, encoderBytes].map(gigabytes);
    };
    const [bf16, f32] = [held('bf16'), held('f32')];
    const names = ['text encoder, without its table of tokens', "autoencoder's decoder", "autoencoder's encoder"];
    const rows = names.map((name, i) => [name, bf16[i] ?? '', f32[i] ?? '']);
    return table(['of every repository', 'bf16', 'f32'], rows);
  }
}

function traitsOf({ model, size }: Release): ModelTraits {
  const { transformer, textEncoder, scheduler } = parsedConfigs(model, size);
  return {
    kind: scheduler.className === 'SCMScheduler' ? 'sprint' : 'sana',
    nativeSize: size,
    latentChannels: transformer.inChannels,
    maxTextPositions: textEncoder.maxPositionEmbeddings,
    schedulers: kSamplers[scheduler.className],
  };
}

function kindOf({ model, size, controlnet }: Release): string {
  if (controlnet) return 'SANA 1.0 with ControlNet';
  if (model.startsWith('sprint')) return 'SANA-Sprint';
  if (model.startsWith('1.5')) return 'SANA-1.5';
  return { 512: 'SANA 1.0', 1024: 'SANA 1.0', 2048: 'SANA 1.0, 2K', 4096: 'SANA 1.0, 4K' }[size];
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |\n`;
  return `${line(head)}|${'---|'.repeat(head.length)}\n${rows.map(line).join('')}`;
}

if (process.argv[1] === import.meta.filename) {
  const { dtype } = new Command('model-memory')
    .addOption(new Option('--dtype <type>', 'of the memory table').choices(['bf16', 'f32']).default('bf16'))
    .parse()
    .opts<{ dtype: DType }>();
  process.stdout.write(await modelTables(dtype));
}
