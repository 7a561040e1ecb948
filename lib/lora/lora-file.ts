/**
 * Reads a LoRA: for some of the transformer's matrices W [out, in], a pair A [r, in], B [out, r] and a factor, so that
 * the adapted matrix is W + scale * factor * B A (LoRA, arXiv 2106.09685). Nothing in the file is trusted: every tensor
 * must be half of a complete pair for a matrix that the model has, have its size, and be finite.
 */

import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SanaError } from '../base/errors.ts';
import { describeJson } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import { ModelFolder } from '../checkpoint/model-folder.ts';
import { isWeight, readSafetensors, type TensorEntry, type WeightDType } from '../checkpoint/safetensors.ts';
import { decodeTensor } from '../checkpoint/tensor-file.ts';
import { addon, type NativeFile } from '../device/native.ts';
import { type LoraConfig, parseLoraConfig } from './config.ts';
import { type LoraPart, parseLoraKey } from './keys.ts';

/**
 * The parts of a model that adapters can change, by the names of modules, such as `transformer_blocks.0.attn1.to_q`.
 */
export interface LoraTargets {
  /** Matrices, including 1x1 convolutions. */
  readonly matrices: ReadonlyMap<string, { readonly out: number; readonly in: number }>;
  /** Modules with other kinds of weights. */
  readonly others: ReadonlyMap<string, 'a depthwise convolution' | 'no matrix'>;
}

/** The change of one matrix. */
export interface LoraDelta {
  readonly module: string;
  readonly rank: number;
  /** alpha / r, or alpha / sqrt(r). */
  readonly factor: number;
  readonly down: StoredTensor; // A [r, in]
  readonly up: StoredTensor; // B [out, r]
}

export interface LoraFile {
  /** The file's name without its extension, or its folder's name if the file has the usual name. */
  readonly name: string;
  readonly sha256: string;
  readonly deltas: readonly LoraDelta[];
  /** What was in the file and is not used. */
  readonly warnings: readonly string[];
}

/** A tensor in the file's dtype, which for most files takes half the memory of f32. */
export class StoredTensor {
  readonly #entry: TensorEntry;
  readonly #bytes: ArrayBuffer;

  constructor(entry: TensorEntry, bytes: ArrayBuffer) {
    this.#entry = entry;
    this.#bytes = bytes;
  }

  /** Its elements, row-major. Must not be written to. */
  read(): Float32Array {
    return decodeTensor(this.#bytes, this.#entry).data as Float32Array; // readers demand f32, bf16 or f16
  }
}

const DEFAULT_FILE = 'pytorch_lora_weights.safetensors';
const EXTENSION = '.safetensors';
/** More columns than any matrix has: a higher rank would only make an adapter larger, not stronger. */
const MAX_RANK = 8192;
const HASH_CHUNK_BYTES = 1 << 20;
const EXPONENT: Readonly<Record<WeightDType, number>> = { f32: 0x7f800000, bf16: 0x7f80, f16: 0x7c00 };

const OTHER_MODEL = 'The adapter was made for another model: use one for the SANA model that is loaded.';
const PLAIN_LORA = 'Save the adapter again as a plain LoRA, with save_lora_weights of diffusers.';

/**
 * Reads the file at `path`, or the one in the folder there.
 *
 * @throws SanaError ERR_SANA_FILE where it cannot be read, ERR_SANA_MODEL naming the tensor that does not fit.
 */
export async function readLoraFile(
  path: string,
  targets: LoraTargets,
  options: { readonly signal?: AbortSignal | undefined; readonly openFile?: (path: string) => NativeFile } = {},
): Promise<LoraFile> {
  const { signal, openFile = (at: string) => addon().openFile(at) } = options;
  signal?.throwIfAborted();
  const found = await findFile(path);
  const file = openFile(found);
  try {
    const { tensors, metadata } = await readSafetensors(file);
    const { pairs, warnings } = pairsOf(tensors, targets, found);
    const config = parseLoraConfig(metadata, found);
    const deltas: LoraDelta[] = [];
    for (const [module, pair] of pairs) deltas.push(await readDelta(file, module, pair, config, signal));
    return { name: nameOf(path, found), sha256: await sha256(file, signal), deltas, warnings };
  } finally {
    file.close();
  }
}

async function findFile(path: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  if (found?.isDirectory() !== true) return path; // opening it reports what else is wrong
  const folder = await ModelFolder.open(path);
  const usual = await folder.find(DEFAULT_FILE);
  if (usual !== null) return usual;
  const names = (await folder.list()).map(({ name }) => name).filter((name) => name.endsWith(EXTENSION));
  const [only] = names;
  const file = names.length === 1 && only !== undefined ? await folder.find(only) : null;
  if (file !== null) return file;
  const pickled = 'A LoRA must be a .safetensors file; .bin and .pt files are unsupported.';
  const reason = names.length === 0 ? `holds no ${DEFAULT_FILE}` : `holds ${names.length} .safetensors files`;
  throw new SanaError('ERR_SANA_FILE', `${path}: the folder ${reason}`, {
    hint: names.length === 0 ? pickled : `Pass one of the files: ${names.slice(0, 5).map(describeJson).join(', ')}.`,
  });
}

function nameOf(path: string, found: string): string {
  // The real file of a link in a hub cache is named by its hash, so the given path is used.
  const given = resolve(path.endsWith(EXTENSION) ? path : join(path, basename(found)));
  const stem = basename(given, EXTENSION);
  return given.endsWith(EXTENSION) && basename(given) !== DEFAULT_FILE ? stem : basename(dirname(given));
}

interface Pair {
  readonly down: TensorEntry;
  readonly up: TensorEntry;
  readonly alpha: TensorEntry | undefined;
  readonly rank: number;
}

/** The pairs of a file by module, checked against the model by their shapes. */
function pairsOf(
  tensors: ReadonlyMap<string, TensorEntry>,
  targets: LoraTargets,
  file: string,
): { pairs: Map<string, Pair>; warnings: string[] } {
  const flat = new Map([...targets.matrices.keys()].map((module) => [module.replaceAll('.', '_'), module]));
  const parts = new Map<string, Partial<Record<LoraPart, TensorEntry>>>();
  const ignored = { 'text encoder': 0, dora_scale: 0 };
  for (const [key, entry] of tensors) {
    const parsed = parseLoraKey(key);
    if (parsed.kind === 'ignored') {
      ignored[parsed.what]++;
      continue;
    }
    if (parsed.kind === 'refused') throw modelError(file, `the tensor ${describeJson(key)} ${parsed.why}`, PLAIN_LORA);
    const module = parsed.flat ? flat.get(parsed.module) : parsed.module;
    if (module === undefined || !targets.matrices.has(module)) {
      const other = targets.others.get(parsed.module);
      if (other === undefined) {
        throw modelError(
          file,
          `the tensor ${describeJson(key)} is for a module that the model does not have`,
          OTHER_MODEL,
        );
      }
      const hint = 'Only linear layers and 1x1 convolutions can be adapted: train the adapter on those.';
      throw modelError(file, `the tensor ${describeJson(key)} is for ${other}, which is unsupported`, hint);
    }
    if (!isWeight(entry)) {
      throw modelError(file, `the tensor ${describeJson(key)} is ${entry.storedDType}, expected F32, BF16 or F16`);
    }
    const own = parts.get(module) ?? {};
    const before = own[parsed.part];
    if (before !== undefined) {
      const both = `${describeJson(before.name)} and ${describeJson(key)}`;
      throw modelError(file, `the tensors ${both} are the same half of one pair`, 'Save one adapter per file.');
    }
    own[parsed.part] = entry;
    parts.set(module, own);
  }
  const pairs = new Map([...parts].map(([module, own]) => [module, checkPair(module, own, targets, file)]));
  if (pairs.size === 0) throw modelError(file, 'holds no LoRA for the transformer', OTHER_MODEL);
  return { pairs, warnings: warningsOf(ignored) };
}

function checkPair(
  module: string,
  { down, up, alpha }: Partial<Record<LoraPart, TensorEntry>>,
  targets: LoraTargets,
  file: string,
): Pair {
  if (down === undefined || up === undefined) {
    const [there] = [down, up, alpha].filter((entry) => entry !== undefined);
    const missing = down === undefined ? 'A [r, in]' : 'B [out, r]';
    throw modelError(
      file,
      `the tensor ${describeJson(there?.name)} has no other half: ${missing} of ${module} is missing`,
    );
  }
  const size = targets.matrices.get(module) ?? { out: 0, in: 0 };
  const [rank = 0] = matrixShape(down) ?? [];
  if (!(rank >= 1 && rank <= MAX_RANK)) {
    throw modelError(file, `${shapeOf(down)}, expected a rank from 1 to ${MAX_RANK} and ${size.in} columns`);
  }
  if (matrixShape(down)?.[1] !== size.in)
    throw modelError(file, `${shapeOf(down)}, expected [r, ${size.in}]`, OTHER_MODEL);
  const [rows, columns] = matrixShape(up) ?? [];
  if (rows !== size.out || columns !== rank) {
    throw modelError(file, `${shapeOf(up)}, expected [${size.out}, ${rank}]`, OTHER_MODEL);
  }
  if (alpha?.shape.some((n) => n !== 1)) {
    throw modelError(file, `${shapeOf(alpha)}, expected a single number`);
  }
  return { down, up, alpha, rank };
}

/** [a, b], also for a 1x1 convolution: [a, b, 1, 1]. */
function matrixShape({ shape }: TensorEntry): readonly number[] | undefined {
  const [a = 0, b = 0, ...rest] = shape;
  const matrix = shape.length === 2 || (shape.length === 4 && rest.every((n) => n === 1));
  return matrix ? [a, b] : undefined;
}

function shapeOf({ name, shape }: TensorEntry): string {
  return `the tensor ${describeJson(name)} is [${shape.join(', ')}]`;
}

function warningsOf(ignored: Readonly<Record<'text encoder' | 'dora_scale', number>>): string[] {
  const warnings: string[] = [];
  if (ignored['text encoder'] > 0) {
    warnings.push(
      `${ignored['text encoder']} tensors for a text encoder are not used: only the transformer is adapted`,
    );
  }
  if (ignored.dora_scale > 0) {
    warnings.push(`${ignored.dora_scale} dora_scale tensors are not used: the adapter acts as a plain LoRA`);
  }
  return warnings;
}

async function readDelta(
  file: NativeFile,
  module: string,
  { down, up, alpha: stored, rank }: Pair,
  config: LoraConfig,
  signal: AbortSignal | undefined,
): Promise<LoraDelta> {
  const configured = config.rankOf(module);
  if (configured !== undefined && configured !== rank) {
    throw modelError(file.path, `${shapeOf(down)}, but the metadata says that its rank is ${configured}`);
  }
  const read = async (entry: TensorEntry): Promise<StoredTensor> => {
    signal?.throwIfAborted();
    const bytes = await file.read(entry.offset, entry.bytes);
    if (!allFinite(bytes, entry)) {
      throw modelError(file.path, `the tensor ${describeJson(entry.name)} holds NaN or infinite values`);
    }
    return new StoredTensor(entry, bytes);
  };
  const alpha = stored === undefined ? (config.alphaOf(module) ?? rank) : ((await read(stored)).read()[0] ?? rank);
  const factor = alpha / (config.rankStabilised ? Math.sqrt(rank) : rank);
  return { module, rank, factor, down: await read(down), up: await read(up) };
}

function allFinite(bytes: ArrayBuffer, { dtype }: TensorEntry): boolean {
  const exponent = EXPONENT[dtype as WeightDType]; // pairsOf lets no other through
  const words = dtype === 'f32' ? new Uint32Array(bytes) : new Uint16Array(bytes);
  for (let i = 0; i < words.length; i++) if (((words[i] as number) & exponent) === exponent) return false;
  return true;
}

async function sha256(file: NativeFile, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < file.bytes; at += HASH_CHUNK_BYTES) {
    signal?.throwIfAborted();
    hash.update(new Uint8Array(await file.read(at, Math.min(HASH_CHUNK_BYTES, file.bytes - at))));
  }
  return hash.digest('hex');
}
