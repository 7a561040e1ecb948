/** Converts a checkpoint of the official repository to the diffusers layout. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { bytesPerElement } from '../base/dtypes.ts';
import { argumentError, SanaError } from '../base/errors.ts';
import type { JsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { areFp16Numbers } from '../checkpoint/fp16.ts';
import type { WeightDType } from '../checkpoint/safetensors.ts';
import type { NativeFile } from '../device/native.ts';
import { autoencoderLayout } from './autoencoder-names.ts';
import { DEFAULT_SHARD_BYTES, type OutputTensor, writeComponent } from './component-writer.ts';
import { convertElements } from './dtypes.ts';
import type { ImageSize } from './image-size.ts';
import { openInputFile } from './input-file.ts';
import { type ComponentName, checkLayout, type Layout, type Move, Shapes } from './official-layout.ts';
import { checkOutput, makeFolder } from './output-folder.ts';
import { planPipeline, writePipeline } from './pipeline-folder.ts';
import { readSource } from './source.ts';
import type { SourceTensor, WeightSet } from './source-tensor.ts';
import { controlNetLayout, transformerLayout } from './transformer-names.ts';

export interface ConvertOptions {
  /** A .pth or .safetensors file with the names of the official repository. */
  readonly input: string;
  /** The folder to create: of the component, or of a whole pipeline with `base`. */
  readonly output: string;
  /** A pipeline in the diffusers layout that provides everything but the component. */
  readonly base?: string;
  /** The size the transformer was trained for; default: read from the file. */
  readonly imageSize?: ImageSize;
  /** The dtype to store; default: that of the file. */
  readonly dtype?: WeightDType;
  /** Default: 'trained', as in the official inference code. */
  readonly weights?: WeightSet;
  /** Default: those of the released model of that width. */
  readonly crossAttentionHeads?: number;
  /** Replace an existing model. */
  readonly force?: boolean;
  /** Largest file of tensors; default: 5 GB. */
  readonly shardBytes?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly writtenBytes: number; readonly totalBytes: number }) => void;
}

export interface Conversion {
  readonly component: ComponentName;
  readonly folder: string;
  readonly config: JsonObject;
  readonly tensors: number;
  readonly bytes: number;
  readonly dropped: readonly string[]; // tensors of the file that the component does not need
  readonly warnings: readonly string[];
}

/** How much of a tensor is in memory at a time: a piece, and the piece after conversion. */
const PIECE_BYTES = 8 * 1024 * 1024;

/**
 * Converts a file. No code in it is executed, nothing is written before all of its names and shapes are accounted for,
 * and the folder appears completely or not at all.
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<Conversion> {
  const { input, output, base, signal, onProgress, shardBytes = DEFAULT_SHARD_BYTES, force = false } = options;
  const target = { path: output, force, inputs: [input] };
  await checkOutput(target);
  const file = openInputFile(input);
  try {
    const { tensors: sources, others } = await readSource(file, options.weights ?? 'trained');
    const layout = layoutOf(sources, options);
    const dropped = checkLayout(layout, sources, input);
    const warnings =
      others.length === 0 ? [] : [`ignored, because they are not tensors: ${others.slice(0, 10).join(', ')}`];
    warnings.push(...(await checkDType(layout, sources, options)));
    const outputs = layout.moves.flatMap((move) => outputsOf(move, sources, options));
    const totalBytes = outputs.reduce((sum, tensor) => sum + tensor.bytes, 0);
    checkAliases(layout, sources, file);
    const pipeline = base === undefined ? undefined : await planPipeline(base, layout);
    await makeFolder({ ...target, bytes: totalBytes }, async (partial) => {
      const folder = pipeline === undefined ? partial : join(partial, layout.component);
      if (pipeline !== undefined) await mkdir(folder);
      let writtenBytes = 0;
      onProgress?.({ writtenBytes, totalBytes });
      await writeComponent(folder, layout.config, outputs, {
        shardBytes,
        signal,
        onBytes: (bytes) => {
          writtenBytes += bytes;
          onProgress?.({ writtenBytes, totalBytes });
        },
      });
      if (pipeline !== undefined) {
        await writePipeline(partial, pipeline, signal);
        await checkOpens(partial, base ?? partial);
      }
      signal?.throwIfAborted();
    });
    const { component, config } = layout;
    return { component, folder: output, config, tensors: outputs.length, bytes: totalBytes, dropped, warnings };
  } finally {
    file.close();
  }
}

/** A pipeline must open before it is put in place. Errors in what comes from the base name the base. */
async function checkOpens(folder: string, base: string): Promise<void> {
  try {
    (await openCheckpoint(folder, { openFile: openInputFile })).close();
  } catch (cause) {
    if (!(cause instanceof SanaError)) throw cause;
    throw new SanaError(cause.code, cause.message.replaceAll(folder, base), { hint: cause.hint, cause });
  }
}

/** What the file is, by its names. */
function layoutOf(sources: ReadonlyMap<string, SourceTensor>, options: ConvertOptions): Layout {
  const { input, imageSize, crossAttentionHeads } = options;
  const names = [...sources.keys()];
  const shapes = new Shapes(sources, input);
  if (names.some((name) => /^(transformer_blocks\.0|decoder\.up_blocks\.0)\./.test(name))) {
    throw modelError(
      input,
      'is in the diffusers layout already',
      'Put it into its folder with a config.json: there is nothing to convert.',
    );
  }
  if (names.some((name) => name.startsWith('encoder.') || name.startsWith('decoder.'))) {
    for (const [name, value] of Object.entries({ imageSize, crossAttentionHeads })) {
      if (value !== undefined) throw argumentError(name, 'left out for an autoencoder', value, 'Leave it out.');
    }
    return autoencoderLayout(shapes, input);
  }
  const choices = { imageSize, crossAttentionHeads };
  const controlled = names.some((name) => name.startsWith('controlnet.'));
  return controlled ? controlNetLayout(shapes, choices, input) : transformerLayout(shapes, choices, input);
}

/** The tensors that a move produces. */
function outputsOf(move: Move, sources: ReadonlyMap<string, SourceTensor>, options: ConvertOptions): OutputTensor[] {
  const source = sources.get(move.from);
  if (source === undefined) return []; // `checkLayout` has seen to it
  const from = source.dtype as WeightDType; // likewise
  const to = options.dtype ?? from;
  const elements = source.elements / move.to.length;
  return move.to.map((name, i) => ({
    name,
    dtype: to.toUpperCase(),
    elementBytes: bytesPerElement(to),
    shape: move.toShape,
    bytes: elements * bytesPerElement(to),
    async *read() {
      for await (const piece of source.read(i * elements, elements, PIECE_BYTES)) {
        const { bytes, overflows } = convertElements(piece, from, to);
        if (overflows > 0) {
          throw modelError(
            options.input,
            `${overflows} or more numbers of ${move.from} are too large for ${to}`,
            to === 'f16' ? 'Store bf16 or f32 instead.' : 'Store f32 instead.',
          );
        }
        yield bytes;
      }
    },
  }));
}

/**
 * Several tensors may share one storage, but the output must not be larger than the file: everything that is written
 * comes from somewhere in it.
 */
function checkAliases(layout: Layout, sources: ReadonlyMap<string, SourceTensor>, file: NativeFile): void {
  const bytes = layout.moves.reduce((sum, { from }) => {
    const source = sources.get(from);
    return sum + (source === undefined ? 0 : source.elements * source.elementBytes);
  }, 0);
  if (bytes <= file.bytes) return;
  throw modelError(file.path, `its tensors take ${bytes} bytes, more than the file has: they share storages`);
}

/**
 * SANA-1.0's fp16 checkpoints are recognised by their numbers (see lib/checkpoint/fp16.ts), which rounding to bf16
 * destroys.
 */
async function checkDType(
  layout: Layout,
  sources: ReadonlyMap<string, SourceTensor>,
  { input, dtype }: ConvertOptions,
): Promise<string[]> {
  const probe = sources.get('blocks.0.attn.proj.weight');
  if (layout.component !== 'transformer' || probe === undefined || dtype === undefined || dtype === 'f32') return [];
  const halves = probe.dtype === 'f16' || (probe.dtype === 'f32' && (await holdsFp16(probe)));
  if (dtype === 'bf16' && halves) {
    throw new SanaError('ERR_SANA_ARGUMENT', `${input}: was trained in fp16, which cannot be recognised in bf16`, {
      hint: 'Leave out --dtype, or store f16 or f32: such models need their attention clipped, which is not done for bf16 files.',
    });
  }
  if (dtype !== 'f16' || halves) return [];
  return ['it was not trained in fp16, but will be loaded as if it was: its attention will be clipped at 65504'];
}

async function holdsFp16(tensor: SourceTensor): Promise<boolean> {
  for await (const piece of tensor.read(0, Math.min(tensor.elements, 1 << 16), PIECE_BYTES)) {
    if (!areFp16Numbers(new Uint32Array(piece.buffer, piece.byteOffset, piece.byteLength / 4))) return false;
  }
  return true;
}
