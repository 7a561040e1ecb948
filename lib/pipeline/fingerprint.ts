/** A short hash that tells one set of weights from another, cheap enough to take for every model. */

import { createHash } from 'node:crypto';
import type { Checkpoint, Component } from '../checkpoint/checkpoint.ts';

const sampleBytes = 256;

/**
 * SHA-256 over every tensor's name, dtype, shape and first 256 bytes, 16 hexadecimal digits of it. Fine-tuning changes
 * every tensor; a file that is damaged further in is not noticed here.
 */
export async function fingerprint({ transformer, textEncoder, vae, controlnet }: Checkpoint): Promise<string> {
  const hash = createHash('sha256');
  for (const component of [
    transformer,
    textEncoder,
    vae,
    ...(controlnet === undefined ? [] : [controlnet]),
  ] as Component<unknown>[]) {
    for (const name of [...component.tensors.keys()].sort()) {
      const entry = component.tensors.get(name);
      if (entry === undefined) continue;
      hash.update(`${component.name}/${name} ${entry.dtype} [${entry.shape.join(', ')}]\n`);
      const bytes = Math.min(sampleBytes, entry.bytes);
      if (bytes > 0) hash.update(new Uint8Array(await component.file(entry).read(entry.offset, bytes)));
    }
  }
  return hash.digest('hex').slice(0, 16);
}
