/** LoRA files for tests: the recorded adapters, and others written tensor by tensor. */

import { join } from 'node:path';
import { readTensors, type Tensor, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { fixture, openFile } from './files.ts';

export type LoraName = 'attn' | 'all';

export const loraFolder = (name: LoraName): string => fixture('sana-lora', name);
export const loraFile = (name: LoraName): string => join(loraFolder(name), 'pytorch_lora_weights.safetensors');
export const loraTensors = (name: LoraName): Promise<Map<string, Tensor>> => readTensors(loraFile(name), openFile);

export function tensor(shape: readonly number[], fill: (i: number) => number = (i) => Math.sin(i)): Tensor {
  const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => fill(i));
  return { shape, data };
}

/** The pair of one module of the tiny model, [64, 64] unless said otherwise. */
export function pairOf(module: string, rank = 2, size = { out: 64, in: 64 }): Record<string, Tensor> {
  return {
    [`transformer.${module}.lora_A.weight`]: tensor([rank, size.in]),
    [`transformer.${module}.lora_B.weight`]: tensor([size.out, rank], Math.cos),
  };
}

export async function writeLora(
  path: string,
  tensors: Readonly<Record<string, Tensor>> | ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const entries = tensors instanceof Map ? [...tensors] : Object.entries(tensors);
  const fields = Object.keys(metadata).length > 0 ? [['lora_adapter_metadata', JSON.stringify(metadata)] as const] : [];
  await writeSafetensors(path, new Map(entries), new Map(fields));
  return path;
}
