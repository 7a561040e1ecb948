/**
 * Prints the parameters, memory and defaults of every released repository, as planned: the tables of docs/models.md.
 * Nothing is downloaded, allocated or run.
 *
 *     npx tsx scripts/model-memory.ts [--dtype f32|i8]
 *     npx tsx scripts/model-memory.ts --write        # lib/models/released-memory.ts, which `sana-native info` reads
 *
 * The memory is that of one picture of the default prompt with the default request, as `explain` predicts it, without
 * the device's own workspace. `bands` is with the least memory that decoding needs, independent of what is free.
 */

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Command, Option } from 'commander';
import { packageRoot } from '../lib/base/package.ts';
import type { Checkpoint } from '../lib/checkpoint/checkpoint.ts';
import { openDevice } from '../lib/device/devices.ts';
import { Autoencoder } from '../lib/models/autoencoder.ts';
import { Engine } from '../lib/models/engine.ts';
import { TextEncoder } from '../lib/models/text-encoder.ts';
import { SanaTransformer } from '../lib/networks/sana-transformer.ts';
import { explain } from '../lib/pipeline/explanation.ts';
import { Parts } from '../lib/pipeline/parts.ts';
import { tokenize } from '../lib/pipeline/prompts.ts';
import type { StepInfo } from '../lib/pipeline/results.ts';
import type { ModelTraits } from '../lib/request/model-traits.ts';
import { checkRequest } from '../lib/request/request.ts';
import type { SchedulerConfig } from '../lib/schedulers/config.ts';
import { Tokenizer } from '../lib/text/tokenizer.ts';
import { components, gemmaTokenizerFile } from './random-checkpoint/checkpoint.ts';
import { releasedConfigs } from './random-checkpoint/configs.ts';
import { parsedConfigs, withoutWeights } from './random-checkpoint/released.ts';
import { type Release, releases } from './random-checkpoint/releases.ts';
import { parameterCount } from './random-checkpoint/tensors.ts';

type DType = 'i8' | 'bf16' | 'f32';

/** The file that `--write` writes. */
export const releasedMemoryFile = join(packageRoot, 'lib/models/released-memory.ts');

const kPrompt = 'a red fox in snow';
const kSizes = [512, 1024, 2048, 4096] as const;

const kSamplers: Readonly<Record<SchedulerConfig['className'], ModelTraits['schedulers']>> = {
  DPMSolverMultistepScheduler: ['flow-dpm-solver'],
  FlowMatchEulerDiscreteScheduler: ['flow-euler'],
  SCMScheduler: ['scm'],
};

/** The printed text, for the repositories that `wanted` selects; tests pass another tokenizer. */
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
        ['repository', 'kind', 'parameters', 'int8', 'bf16', 'f32', 'steps', 'guidance', 'sampler', 'shift'],
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

/** lib/models/released-memory.ts: the least memory that each model needs at the size that it was trained on. */
export async function memoryModule(): Promise<string> {
  const engine = new Engine(openDevice('cpu'));
  const tokenizer = await Tokenizer.load(dirname(gemmaTokenizerFile()));
  try {
    const planner = new Planner(engine, tokenizer);
    const rows: string[] = [];
    const keyOf = ({ model, size }: Release) => `${model} ${size}`;
    for (const key of new Set(releases.map(keyOf))) {
      const same = releases.filter((release) => keyOf(release) === key);
      const [release] = same;
      if (release === undefined) throw new Error(`no release of ${key}`);
      const peaks = async (dtype: DType) => {
        const [, none, , sequential] = await planner.peaks(release, release.size, dtype);
        const [a, b] = [none, sequential].map((value) => Number(value?.toFixed(2)));
        return `{ none: ${a}, sequential: ${b} }`;
      };
      const repositories = same.filter(({ controlnet }) => !controlnet).map(({ repository }) => `'${repository}'`);
      rows.push(
        `  {\n    repositories: [${repositories.join(', ')}],\n    size: ${release.size},\n` +
          `    int8: ${await peaks('i8')},\n    bfloat16: ${await peaks('bf16')},\n    float32: ${await peaks('f32')},\n  },\n`,
      );
    }
    return kModule.replace('ROWS', rows.join(''));
  } finally {
    tokenizer.dispose();
    engine.dispose();
  }
}

const kModule = `/**
 * The least memory that the released models need for one picture of the size they were trained at, in GB (1e9 bytes):
 * with bands where decoding all at once needs more, beside Node. Written by \`npx tsx scripts/model-memory.ts --write\`.
 */

import type { ReleasedMemory } from './memory-needed.ts';

export const RELEASED_MEMORY: readonly ReleasedMemory[] = [
ROWS];
`;

class Planner {
  readonly #engine: Engine;
  readonly #tokenizer: Tokenizer;
  /** Rows that several repositories share because they have the same model. */
  readonly #rows = new Map<string, Promise<number[]>>();

  constructor(engine: Engine, tokenizer: Tokenizer) {
    this.#engine = engine;
    this.#tokenizer = tokenizer;
  }

  /** Parameters, bytes of the transformer's weights in memory, and the defaults of a request. */
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
      held('i8'),
      held('bf16'),
      held('f32'),
      String(numInferenceSteps),
      String(guidanceScale),
      sampler,
      scheduler.className === 'DPMSolverMultistepScheduler' ? String(scheduler.flowShift) : '',
    ];
  }

  /** The peak of drawing one picture, in each of the four ways. */
  async memoryRow(release: Release, size: number, dtype: DType): Promise<string[]> {
    const key = `${release.model} ${release.size} ${size}`;
    const known = this.#rows.get(key) ?? this.peaks(release, size, dtype);
    this.#rows.set(key, known);
    const peaks = (await known).map((value) => `${value.toFixed(2)} GB`);
    return [release.repository, kindOf(release), `${size} x ${size}`, ...peaks];
  }

  /** In GB: offload 'none', the same in bands, 'sequential', the same in bands. */
  async peaks(release: Release, size: number, dtype: DType): Promise<number[]> {
    const configs = parsedConfigs(release.model, release.size);
    const request = checkRequest<StepInfo>({ prompt: kPrompt, width: size, height: size }, traitsOf(release));
    const tokens = await tokenize(this.#tokenizer, request);
    const checkpoint: Checkpoint = {
      folder: release.repository,
      className: configs.scheduler.className === 'SCMScheduler' ? 'SanaSprintPipeline' : 'SanaPipeline',
      textEncoder: withoutWeights(configs.textEncoder),
      transformer: withoutWeights(configs.transformer),
      vae: withoutWeights(configs.autoencoder),
      scheduler: configs.scheduler,
      generation: {},
      tokenizerFolder: '',
      close: () => {},
    };
    const peak = (offload: 'none' | 'sequential', reachableBytes: number) => {
      const trainedInFp16 = { transformer: false, controlnet: false };
      const parts = new Parts(this.#engine, checkpoint, dtype, offload, trainedInFp16, null);
      return explain({ parts, request, tokens }, reachableBytes).memory.peakBytes - this.#engine.workspaceBytes;
    };
    const all = Number.POSITIVE_INFINITY;
    return [peak('none', all), peak('none', 0), peak('sequential', all), peak('sequential', 0)].map(
      (bytes) => bytes / 1e9,
    );
  }

  /** The weights that are the same in every repository. */
  shared(): string {
    const { textEncoder, autoencoder } = parsedConfigs('0.6b', 1024);
    const held = (dtype: 'bf16' | 'f32') => {
      const { decoder, encoder } = new Autoencoder(this.#engine, withoutWeights(autoencoder), dtype);
      const { weightBytes } = new TextEncoder(this.#engine, withoutWeights(textEncoder), dtype);
      return [weightBytes, decoder.weightBytes, encoder.weightBytes].map(gigabytes);
    };
    const [bf16, f32] = [held('bf16'), held('f32')];
    const names = ['text encoder, without the token embeddings', "autoencoder's decoder", "autoencoder's encoder"];
    const rows = names.map((name, i) => [name, bf16[i] ?? '', f32[i] ?? '']);
    return table(['in every repository', 'bf16', 'f32'], rows);
  }
}

function traitsOf({ model, size }: Release): ModelTraits {
  const { transformer, textEncoder, scheduler } = parsedConfigs(model, size);
  return {
    kind: scheduler.className === 'SCMScheduler' ? 'sprint' : 'sana',
    nativeSize: size,
    compression: 32,
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
  const { dtype, write } = new Command('model-memory')
    .addOption(new Option('--dtype <type>', 'dtype of the memory table').choices(['bf16', 'f32', 'i8']).default('bf16'))
    .option('--write', 'write lib/models/released-memory.ts instead')
    .parse()
    .opts<{ dtype: DType; write?: boolean }>();
  if (write === true) {
    writeFileSync(releasedMemoryFile, await memoryModule());
    execFileSync('npx', ['biome', 'check', '--write', releasedMemoryFile], { cwd: packageRoot });
  } else process.stdout.write(await modelTables(dtype));
}
