/** Safetensors files with random contents, written in large blocks: memory does not grow with the model. */

import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeHeader } from '../../lib/checkpoint/safetensors.ts';
import { allocate, bytesPerElement, GaussianStream, GaussianTables, type StoredDType } from './gaussian.ts';
import { elementCount, type TensorSpec } from './tensors.ts';

export type Variant = 'none' | 'fp16' | 'bf16';

/** The default dtype of a variant's files. */
export const variantDTypes: Readonly<Record<Variant, StoredDType>> = { none: 'F32', fp16: 'F16', bf16: 'BF16' };

/** One component's weights: where they are written, and how they are named and split. */
export interface ComponentFiles {
  readonly folder: string; // must exist
  readonly stem: string; // 'model' or 'diffusion_pytorch_model'
  readonly variant: Variant;
  readonly dtype: StoredDType;
  readonly shardBytes: number; // no file holds more tensor bytes than this, unless a single tensor does
}

export interface DrawOptions {
  readonly seed: number;
  /** Zeros, as holes that take no disk space, for uses that only read headers. */
  readonly hollow?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined; // bytes just written
}

const kBlockElements = 4 << 20;

/** Writes `tensors` as one file, or as shards with an index if they do not fit in one. */
export async function writeComponent(
  tensors: readonly TensorSpec[],
  files: ComponentFiles,
  options: DrawOptions,
): Promise<void> {
  const { folder, stem, dtype } = files;
  const shards = shardsOf(tensors, files);
  for (const { file, tensors: held } of shards) await writeSafetensors(join(folder, file), held, dtype, options);
  if (shards.length === 1) return;
  const weightMap = shards.flatMap(({ file, tensors: held }) => held.map(({ name }) => [name, file] as const));
  const index = {
    metadata: { total_size: tensors.reduce((sum, tensor) => sum + byteCount(tensor, dtype), 0) },
    weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  const name = `${stem}.safetensors.index${suffixOf(files)}.json`;
  await writeFile(join(folder, name), `${JSON.stringify(index, null, 2)}\n`);
}

/** The file of each tensor. */
export function shardsOf(
  tensors: readonly TensorSpec[],
  files: Pick<ComponentFiles, 'stem' | 'variant' | 'dtype' | 'shardBytes'>,
): { readonly file: string; readonly tensors: TensorSpec[] }[] {
  const shards = cut(tensors, files.dtype, files.shardBytes);
  const number = (i: number): string => String(i).padStart(5, '0');
  return shards.map((held, i) => {
    const part = shards.length === 1 ? '' : `-${number(i + 1)}-of-${number(shards.length)}`;
    return { file: `${files.stem}${suffixOf(files)}${part}.safetensors`, tensors: held };
  });
}

function suffixOf({ variant }: Pick<ComponentFiles, 'variant'>): string {
  return variant === 'none' ? '' : `.${variant}`;
}

/** Tensors in order, split where the next one would exceed the limit; sorted by name within a shard. */
function cut(tensors: readonly TensorSpec[], dtype: StoredDType, shardBytes: number): TensorSpec[][] {
  const shards: TensorSpec[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = byteCount(tensor, dtype);
    const shard = shards.at(-1);
    if (shard && bytes <= room) {
      shard.push(tensor);
      room -= bytes;
    } else {
      shards.push([tensor]);
      room = shardBytes - bytes;
    }
  }
  for (const shard of shards) shard.sort((a, b) => (a.name < b.name ? -1 : 1));
  return shards;
}

async function writeSafetensors(
  path: string,
  tensors: readonly TensorSpec[],
  dtype: StoredDType,
  options: DrawOptions,
): Promise<void> {
  const file = await open(path, 'wx');
  try {
    const head = header(tensors, dtype);
    await file.write(head);
    if (options.hollow) {
      const bytes = tensors.reduce((sum, tensor) => sum + byteCount(tensor, dtype), 0);
      await file.truncate(head.length + bytes);
      options.onBytes?.(bytes);
      return;
    }
    const tables = new GaussianTables(dtype);
    // Two blocks: one is filled while the other is written to disk.
    let [block, spare] = [allocate(dtype, kBlockElements), allocate(dtype, kBlockElements)];
    let used = 0;
    let inFlight: Promise<unknown> = Promise.resolve();
    const flush = async (): Promise<void> => {
      await inFlight;
      options.signal?.throwIfAborted();
      const bytes = new Uint8Array(block.buffer, 0, used * block.BYTES_PER_ELEMENT);
      inFlight = writeAll(file, bytes).then(() => options.onBytes?.(bytes.length));
      inFlight.catch(() => {}); // seen by the next await; not an unhandled rejection until then
      [block, spare] = [spare, block];
      used = 0;
    };
    for (const tensor of tensors) {
      const stream = new GaussianStream(options.seed, tensor.name, tables.get(tensor.mean, tensor.std));
      for (let left = elementCount(tensor); left > 0; ) {
        const count = Math.min(left, kBlockElements - used);
        stream.fill(block, used, used + count);
        used += count;
        left -= count;
        if (used === kBlockElements) await flush();
      }
    }
    await flush();
    await inFlight;
  } finally {
    await file.close();
  }
}

async function writeAll(file: Awaited<ReturnType<typeof open>>, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
}

function header(tensors: readonly TensorSpec[], dtype: StoredDType): Buffer {
  const table: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + byteCount(tensor, dtype);
    table[tensor.name] = { dtype, shape: tensor.shape, data_offsets: [offset, end] };
    offset = end;
  }
  return encodeHeader(table);
}

function byteCount(tensor: TensorSpec, dtype: StoredDType): number {
  return elementCount(tensor) * bytesPerElement[dtype];
}
