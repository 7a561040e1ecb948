/** Writes a component's folder: config.json and safetensors files, one tensor after the other. */

import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsonObject } from '../base/json.ts';
import { encodeHeader } from '../checkpoint/safetensors.ts';

/** A tensor to be written. */
export interface OutputTensor {
  readonly name: string;
  readonly dtype: string; // as safetensors spells it
  readonly elementBytes: number;
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Its bytes, in order, in pieces. */
  read(): AsyncIterable<Uint8Array>;
}

export interface WriteOptions {
  /** No file has more tensor bytes than this, unless a single tensor does. */
  readonly shardBytes: number;
  readonly signal?: AbortSignal | undefined;
  readonly onBytes?: ((bytes: number) => void) | undefined; // bytes just written
}

/** Where diffusers splits (`max_shard_size="5GB"`). */
export const DEFAULT_SHARD_BYTES = 5e9;

const STEM = 'diffusion_pytorch_model';

export async function writeComponent(
  folder: string, // must exist
  config: JsonObject,
  tensors: readonly OutputTensor[],
  options: WriteOptions,
): Promise<void> {
  await writeDurably(join(folder, 'config.json'), `${JSON.stringify(sortedKeys(config), null, 2)}\n`);
  const shards = cut(tensors, options.shardBytes);
  const number = (i: number) => String(i).padStart(5, '0');
  const fileOf: Record<string, string> = Object.create(null);
  for (const [i, shard] of shards.entries()) {
    const part = shards.length === 1 ? '' : `-${number(i + 1)}-of-${number(shards.length)}`;
    const file = `${STEM}${part}.safetensors`;
    await writeSafetensors(join(folder, file), shard, options);
    for (const { name } of shard) fileOf[name] = file;
  }
  if (shards.length === 1) return;
  const index = {
    metadata: { total_size: tensors.reduce((sum, tensor) => sum + tensor.bytes, 0) },
    weight_map: sortedKeys(fileOf),
  };
  await writeDurably(join(folder, `${STEM}.safetensors.index.json`), `${JSON.stringify(index, null, 2)}\n`);
}

/** Tensors in order, split where the next one would exceed the limit. */
function cut(tensors: readonly OutputTensor[], shardBytes: number): OutputTensor[][] {
  const shards: OutputTensor[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const shard = shards.at(-1);
    if (shard !== undefined && tensor.bytes <= room) {
      shard.push(tensor);
      room -= tensor.bytes;
    } else {
      shards.push([tensor]);
      room = shardBytes - tensor.bytes;
    }
  }
  return shards;
}

async function writeSafetensors(path: string, shard: readonly OutputTensor[], options: WriteOptions): Promise<void> {
  // Wider elements first, so that every tensor is aligned to its element.
  const tensors = [...shard].sort((a, b) => b.elementBytes - a.elementBytes || (a.name < b.name ? -1 : 1));
  const file = await open(path, 'wx');
  try {
    await file.writeFile(header(tensors));
    for (const tensor of tensors) {
      for await (const piece of tensor.read()) {
        options.signal?.throwIfAborted();
        await file.writeFile(piece);
        options.onBytes?.(piece.byteLength);
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

function header(tensors: readonly OutputTensor[]): Buffer {
  const table: Record<string, unknown> = Object.create(null);
  table.__metadata__ = { format: 'pt' };
  let end = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    table[name] = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  return encodeHeader(table);
}

/** Keys in order, as in the released files. */
function sortedKeys<T>(object: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Writes a small new file, and returns when it is on disk. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
