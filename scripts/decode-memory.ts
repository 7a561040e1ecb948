/**
 * Prints what decoding takes beside the weights, and in which bands, as planned for the released autoencoder: the table
 * of docs/large-pictures.md. Runs nothing.
 *
 *     npx tsx scripts/decode-memory.ts
 */

import { costs } from '../lib/graph/program.ts';
import { Autoencoder } from '../lib/pipeline/autoencoder.ts';
import { Engine } from '../lib/pipeline/engine.ts';
import { openDevice } from '../lib/runtime/devices.ts';
import { releasedAutoencoder, withoutWeights } from './random-checkpoint/released.ts';

/** Every plan there is for a picture, from all of it at once to what needs least. */
function plans(autoencoder: Autoencoder, size: number) {
  const found: { rows: number; bytes: number; flops: number }[] = [];
  for (let freeBytes = Number.POSITIVE_INFINITY; ; ) {
    const {
      plan,
      stateBytes,
      bandRows = size,
    } = autoencoder.planRgb(size / 32, size / 32, { height: size, width: size }, freeBytes);
    const bytes = plan.arenaBytes + stateBytes;
    if (found.at(-1)?.rows === bandRows) return found;
    found.push({ rows: bandRows, bytes, flops: costs(plan).reduce((sum, { flops }) => sum + flops, 0) });
    freeBytes = bytes; // an eighth of it is kept free: just too little
  }
}

const engine = new Engine(openDevice('cpu'));
console.log('| picture | dtype | rows at a time | memory | work |\n|---|---|---|---|---|');
for (const size of [1024, 2048, 4096]) {
  for (const dtype of ['bf16', 'f32'] as const) {
    const all = plans(new Autoencoder(engine, withoutWeights(releasedAutoencoder()), dtype), size);
    for (const { rows, bytes, flops } of all) {
      const memory = `${(bytes / 1e9).toFixed(2)} GB`;
      const work = `${(flops / (all[0]?.flops ?? flops)).toFixed(2)}`;
      console.log(`| ${size} x ${size} | ${dtype} | ${rows === size ? 'all' : rows} | ${memory} | ${work} |`);
    }
  }
}
engine.dispose();
