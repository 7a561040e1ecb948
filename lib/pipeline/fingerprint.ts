/** A short hash that identifies a set of weights, cheap enough to compute for every model. */

import { createHash } from 'node:crypto';
import type { Checkpoint, Component } from '../checkpoint/checkpoint.ts';

const sampleBytes = 256;

/**
 * The first 16 hexadecimal digits of the SHA-256 of every tensor's name, dtype, shape and first 256 bytes. This is
 * enough because fine-tuning changes every tensor; it does not detect a file that is damaged elsewhere.
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
