/** A checkpoint folder in the diffusers layout: its configurations, and the location of every tensor. */

import { join } from 'node:path';
import { SanaError } from '../base/errors.ts';
import { describeJson, type JsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import { addon, type NativeFile } from '../device/native.ts';
import type { RequestDefaults } from '../request/types.ts';
import type { SchedulerConfig } from '../schedulers/config.ts';
import {
  type ComponentName,
  componentsOf,
  controlNetPath,
  type PipelineClass,
  pipelineClass,
  WEIGHTS,
} from './checkpoint-files.ts';
import {
  type AutoencoderConfig,
  type Gemma2Config,
  parseAutoencoderConfig,
  parseControlNetConfig,
  parseGemma2Config,
  parseSchedulerConfig,
  parseTransformerConfig,
  type TransformerConfig,
} from './configs.ts';
import { parseGenerationConfig } from './generation-config.ts';
import { ModelFolder } from './model-folder.ts';
import { notACheckpoint } from './not-a-checkpoint.ts';
import { isWeight, readSafetensors, type TensorEntry, type WeightDType } from './safetensors.ts';
import { parseVocabulary, type Vocabulary } from './vocabulary.ts';
import { findWeightFiles } from './weight-files.ts';

/** A file with weights of a component. */
export interface WeightFile {
  readonly name: string; // inside the component's folder
  readonly path: string;
  readonly bytes: number;
}

/** One model of a checkpoint. */
export interface Component<C> {
  readonly name: string; // its folder: 'transformer', 'text_encoder', 'vae', 'controlnet'
  readonly config: C;
  readonly configPath: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly variant: string | null; // of the files that were chosen: 'fp16', 'bf16', or null for the unsuffixed ones
  readonly files: readonly WeightFile[];
  readonly dtype: WeightDType | 'mixed'; // what the weights are stored as
  file(entry: TensorEntry): NativeFile;
}

export interface Checkpoint {
  readonly folder: string;
  readonly className: PipelineClass;
  readonly scheduler: SchedulerConfig;
  readonly transformer: Component<TransformerConfig>;
  readonly textEncoder: Component<Gemma2Config>;
  readonly vae: Component<AutoencoderConfig>;
  /** For a ControlNet pipeline, or the one that `OpenCheckpointOptions.controlnet` names. */
  readonly controlnet?: Component<TransformerConfig>;
  readonly tokenizerFolder: string;
  /** From `generation_config.json`; empty without that file. */
  readonly generation: RequestDefaults;
  /** From `vocabulary.json`, if it exists. */
  readonly vocabulary?: Vocabulary;
  close(): void; // closes the files; idempotent
}

export interface OpenCheckpointOptions {
  /** Which files to use if there are several: 'fp16', 'bf16'. */
  readonly variant?: string;
  /**
   * The folder of a ControlNet, or of a checkpoint that has one in `controlnet/`; takes precedence over the
   * checkpoint's own.
   */
  readonly controlnet?: string;
  /** How weight files are opened; by default, the addon does it. */
  readonly openFile?: (path: string) => NativeFile;
}

/**
 * Opens the checkpoint in `folder`: reads and checks its configurations and the headers of its weight files, and keeps
 * those files open. No weights are read.
 */
export async function openCheckpoint(folder: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
  const opened = await ModelFolder.open(folder).catch(() => null);
  const index = await opened?.readJson('model_index.json');
  if (!opened || !index) throw await notACheckpoint(folder);
  const reader = new CheckpointReader(opened, index, options);
  try {
    return await reader.read();
  } catch (error) {
    reader.close();
    throw error;
  }
}

/** The location of a component: a folder, and the component's path inside it. */
interface Place {
  readonly folder: ModelFolder;
  readonly path: string;
}

class CheckpointReader {
  readonly #folder: ModelFolder;
  readonly #index: JsonObject;
  readonly #options: OpenCheckpointOptions;
  readonly #files = new Map<string, NativeFile>(); // by real path

  constructor(folder: ModelFolder, index: JsonObject, options: OpenCheckpointOptions) {
    this.#folder = folder;
    this.#index = index;
    this.#options = options;
  }

  async read(): Promise<Checkpoint> {
    const className = pipelineClass(this.#index, this.#folder.path);
    const controlnet = await this.#controlnetPlace(className);
    const vocabulary = await this.#optional('vocabulary.json', parseVocabulary);
    return {
      folder: this.#folder.path,
      className,
      scheduler: await this.#scheduler(),
      transformer: await this.#component('transformer', parseTransformerConfig),
      textEncoder: withoutModelPrefix(await this.#component('text_encoder', parseGemma2Config)),
      vae: await this.#component('vae', parseAutoencoderConfig),
      ...(controlnet !== null && {
        controlnet: await this.#component('controlnet', parseControlNetConfig, controlnet),
      }),
      tokenizerFolder: join(this.#folder.path, 'tokenizer'),
      generation: (await this.#optional('generation_config.json', parseGenerationConfig)) ?? {},
      ...(vocabulary !== null && { vocabulary }),
      close: () => this.close(),
    };
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }

  /** The requested ControlNet, otherwise that of the pipeline, if it has one. */
  async #controlnetPlace(className: PipelineClass): Promise<Place | null> {
    const { controlnet } = this.#options;
    if (controlnet === undefined) {
      return componentsOf(className).includes('controlnet') ? { folder: this.#folder, path: 'controlnet' } : null;
    }
    const folder = await ModelFolder.open(controlnet).catch((cause: unknown) => {
      const hint = 'Pass the folder of a ControlNet, with its config.json, or of a checkpoint with controlnet/ in it.';
      throw modelError(controlnet, 'the ControlNet is not there: no such folder', hint, cause);
    });
    return { folder, path: await controlNetPath(folder) };
  }

  async #scheduler(): Promise<SchedulerConfig> {
    const [json, path] = await this.#json({ folder: this.#folder, path: 'scheduler' }, 'scheduler_config.json');
    // The pipeline's index says which class the configuration belongs to: [library, class].
    const entry = this.#index.scheduler;
    const className = Array.isArray(entry) && typeof entry[1] === 'string' ? entry[1] : undefined;
    return parseSchedulerConfig(json, path, className);
  }

  async #component<C>(
    name: ComponentName,
    parse: (json: JsonObject, file: string) => C,
    place: Place = { folder: this.#folder, path: name },
  ): Promise<Component<C>> {
    const [json, configPath] = await this.#json(place, 'config.json');
    const config = parse(json, configPath);
    const chosen = await findWeightFiles(place.folder, place.path, WEIGHTS[name], this.#options.variant);
    const tensors = new Map<string, TensorEntry>();
    const files: WeightFile[] = [];
    for (const fileName of chosen.names) {
      const file = await this.#open(place, fileName);
      files.push({ name: fileName, path: file.path, bytes: file.bytes });
      for (const [tensor, entry] of (await readSafetensors(file)).tensors) {
        // In a sharded component every tensor is where the index says, so no tensor is in two files.
        if (chosen.index !== null && chosen.index.fileOf.get(tensor) !== fileName) {
          throw modelError(
            file.path,
            `holds the tensor ${describeJson(tensor)}, which ${chosen.index.file} does not place there`,
          );
        }
        tensors.set(tensor, entry);
      }
    }
    for (const [tensor, fileName] of chosen.index?.fileOf ?? []) {
      if (!tensors.has(tensor)) {
        throw modelError(
          chosen.index?.file ?? fileName,
          `places the tensor ${describeJson(tensor)} in ${fileName}, which does not hold it`,
        );
      }
    }
    return {
      name,
      config,
      configPath,
      tensors,
      variant: chosen.variant,
      files,
      dtype: commonDType(tensors),
      file: (entry) => this.#file(entry),
    };
  }

  async #json(place: Place, name: string): Promise<[JsonObject, string]> {
    const path = join(place.folder.path, place.path, name);
    const json = await place.folder.readJson(join(place.path, name));
    if (json !== null) return [json, path];
    throw modelError(path, 'is not there', 'The checkpoint is incomplete: download the missing files.');
  }

  /** The parsed file at the top of the folder, or null if it does not exist. */
  async #optional<T>(name: string, parse: (json: JsonObject, file: string) => T): Promise<T | null> {
    const json = await this.#folder.readJson(name);
    return json === null ? null : parse(json, join(this.#folder.path, name));
  }

  async #open(place: Place, name: string): Promise<NativeFile> {
    const path = await place.folder.find(join(place.path, name));
    if (path === null) {
      throw modelError(
        join(place.folder.path, place.path, name),
        'is named by the index, but not there',
        'Download the missing file.',
      );
    }
    const open = this.#options.openFile ?? ((at: string) => addon().openFile(at));
    const file = this.#files.get(path) ?? open(path);
    this.#files.set(path, file);
    return file;
  }

  #file(entry: TensorEntry): NativeFile {
    const file = this.#files.get(entry.path);
    if (file !== undefined) return file;
    throw new SanaError('ERR_SANA_DISPOSED', `${entry.path}: the checkpoint was closed`, {
      hint: 'Read all weights before closing the checkpoint.',
    });
  }
}

/** A language model that was saved as a whole has its names below `model.`, and a head that is not needed. */
function withoutModelPrefix(component: Component<Gemma2Config>): Component<Gemma2Config> {
  const tensors = new Map<string, TensorEntry>();
  for (const [full, entry] of component.tensors) {
    if (full === 'lm_head.weight') continue;
    const name = full.startsWith('model.') ? full.slice('model.'.length) : full;
    if (tensors.has(name)) throw modelError(entry.path, `holds ${name} twice, with and without the prefix model.`);
    tensors.set(name, { ...entry, name });
  }
  return { ...component, tensors };
}

function commonDType(tensors: ReadonlyMap<string, TensorEntry>): WeightDType | 'mixed' {
  const dtypes = new Set<WeightDType>();
  for (const tensor of tensors.values()) if (isWeight(tensor)) dtypes.add(tensor.dtype);
  const [dtype] = dtypes;
  return dtypes.size === 1 && dtype !== undefined ? dtype : 'mixed';
}

/** How many tensors of each kind an error names. */
const NAMED = 10;

/**
 * Throws one `ERR_SANA_MODEL` that lists every tensor that is missing, unexpected, or has a wrong shape or dtype.
 * Tensors that match `ignore` may exist and are not checked.
 */
export function checkTensors<C>(
  component: Component<C>,
  expected: ReadonlyMap<string, readonly number[]>, // shapes by name
  options: { ignore?: RegExp } = {},
): void {
  const ignored = (name: string) => options.ignore !== undefined && name.search(options.ignore) >= 0;
  const missing: string[] = [];
  const misshapen: string[] = [];
  const mistyped: string[] = [];
  for (const [name, shape] of expected) {
    const tensor = component.tensors.get(name);
    if (tensor === undefined) {
      missing.push(name);
      continue;
    }
    const same = tensor.shape.length === shape.length && tensor.shape.every((size, i) => size === shape[i]);
    if (!same) misshapen.push(`${name} is [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`);
    if (!isWeight(tensor)) mistyped.push(`${name} is ${tensor.storedDType}, expected F32, BF16 or F16`);
  }
  const extra = [...component.tensors.keys()].filter((name) => !expected.has(name) && !ignored(name));
  const problems = [
    summary('missing', missing),
    summary('not part of this model', extra.map(describeJson)),
    summary('of another shape', misshapen),
    summary('of another dtype', mistyped),
  ].filter((problem) => problem !== '');
  if (problems.length === 0) return;
  const files = component.files.map((file) => file.name).join(', ');
  throw modelError(
    component.configPath,
    `the weights of ${component.name} (${files}) are not those of its configuration: ${problems.join('; ')}`,
    'Configuration and weights must come from the same release: download the folder again.',
  );
}

function summary(what: string, names: readonly string[]): string {
  if (names.length === 0) return '';
  const more = names.length > NAMED ? `, and ${names.length - NAMED} more` : '';
  return `${names.length} ${what}: ${names.slice(0, NAMED).join(', ')}${more}`;
}
