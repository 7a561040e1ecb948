/** Copies of the tiny checkpoint that tests change, tensor by tensor or byte by byte. */

import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors, type Tensor, writeSafetensors } from '../../lib/checkpoint/tensor-file.ts';
import { openFile } from './files.ts';
import { layOver } from './pipelines.ts';

export const weightFiles = {
  textEncoder: 'text_encoder/model.safetensors',
  transformer: 'transformer/diffusion_pytorch_model-00002-of-00003.safetensors',
  vae: 'vae/diffusion_pytorch_model.safetensors',
} as const;

export class CheckpointCopy {
  readonly path: string;
  readonly #remove: () => void;

  constructor(...overlays: string[]) {
    const { path, remove } = layOver(...overlays);
    this.path = path;
    this.#remove = remove;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Rewrites a weight file, its tensors changed in place. */
  async changeTensors(name: string, change: (tensors: Map<string, Tensor>) => void): Promise<void> {
    const tensors = await readTensors(this.file(name), openFile);
    change(tensors);
    await writeSafetensors(this.file(name), tensors, new Map([['format', 'pt']]));
  }

  changeBytes(name: string, change: (bytes: Buffer) => void): void {
    const bytes = readFileSync(this.file(name));
    change(bytes);
    writeFileSync(this.file(name), bytes);
  }

  changeJson(name: string, change: (json: Record<string, unknown>) => void): void {
    const json = JSON.parse(readFileSync(this.file(name), 'utf8'));
    change(json);
    writeFileSync(this.file(name), JSON.stringify(json));
  }

  truncate(name: string, bytes: number): void {
    truncateSync(this.file(name), bytes);
  }

  [Symbol.dispose](): void {
    this.#remove();
  }
}

/** The elements of a tensor, to be written to. */
export function elementsOf(tensors: ReadonlyMap<string, Tensor>, name: string): Float32Array {
  const data = tensors.get(name)?.data;
  if (data instanceof Float32Array) return data;
  throw new Error(`no float tensor ${name}`);
}
