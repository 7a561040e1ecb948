/**
 * Prints the memory that decoding takes in addition to the weights, and the bands, as planned for the released
 * autoencoder: the table of docs/large-pictures.md.
 *
 *     npx tsx scripts/decode-memory.ts [--device cuda]
 *
 * With a checkpoint, it decodes random latents as a whole and with every possible band height, and compares the bytes
 * of the pictures, and the memory with the plan.
 *
 *     npx tsx scripts/decode-memory.ts --run FOLDER [--variant bf16] [--size 512] [--dtype bf16] [--device cpu]
 */

import { parseArgs } from 'node:util';
import { openCheckpoint } from '../lib/checkpoint/checkpoint.ts';
import { openDevice } from '../lib/device/devices.ts';
import { costs } from '../lib/graph/program.ts';
import { Autoencoder } from '../lib/models/autoencoder.ts';
import { Engine } from '../lib/models/engine.ts';
import { TorchGenerator } from '../lib/pipeline/noise.ts';
import { releasedAutoencoder, withoutWeights } from './random-checkpoint/released.ts';

/** Every possible plan for a picture, from the one that is used if memory is plentiful to the smallest one. */
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

async function decodeAll(folder: string, variant: string, size: number, dtype: 'bf16' | 'f32', device: string) {
  const checkpoint = await openCheckpoint(folder, variant === '' ? {} : { variant });
  const engine = new Engine(openDevice(device));
  const autoencoder = new Autoencoder(engine, checkpoint.vae, dtype);
  await autoencoder.decoder.load();
  const side = size / 32;
  const latents = new Float32Array(await new TorchGenerator(7n).draw(side * side * autoencoder.config.latentChannels));
  let whole: Uint8Array | undefined;
  for (const { rows, bytes } of plans(autoencoder, size)) {
    Object.defineProperty(engine, 'spareBytes', { configurable: true, get: () => Math.ceil((8 / 7) * bytes) });
    engine.device.resetPeak();
    const before = engine.device.memory().bytes;
    const started = performance.now();
    const picture = await autoencoder.decodeRgb(latents, side, side, { height: size, width: size });
    const seconds = (performance.now() - started) / 1000;
    whole ??= picture;
    const taken = engine.device.memory().peakBytes - before;
    const same = Buffer.compare(whole, picture) === 0 ? 'the same bytes' : 'OTHER BYTES';
    console.log(`${rows} rows at a time: ${taken} bytes taken, ${bytes} planned, ${seconds.toFixed(1)} s, ${same}`);
    engine.arena.dispose();
  }
  autoencoder.dispose();
  engine.dispose();
  checkpoint.close();
}

function printPlans(device: string): void {
  const engine = new Engine(openDevice(device));
  console.log('| picture | dtype | rows at a time | memory | work |\n|---|---|---|---|---|');
  let atOnce: number | undefined; // FLOPs of a pixel that is decoded with all others: the same for every size
  for (const size of [1024, 2048, 4096]) {
    for (const dtype of ['bf16', 'f32'] as const) {
      const all = plans(new Autoencoder(engine, withoutWeights(releasedAutoencoder()), dtype), size);
      for (const { rows, bytes, flops } of all) {
        const memory = `${(bytes / 1e9).toFixed(2)} GB`;
        atOnce ??= flops / size ** 2;
        const work = (flops / (atOnce * size ** 2)).toFixed(2);
        console.log(`| ${size} x ${size} | ${dtype} | ${rows === size ? 'all' : rows} | ${memory} | ${work} |`);
      }
    }
  }
  engine.dispose();
}

const { values } = parseArgs({
  options: {
    run: { type: 'string' },
    variant: { type: 'string', default: '' },
    size: { type: 'string', default: '512' },
    dtype: { type: 'string', default: 'bf16' },
    device: { type: 'string', default: 'cpu' },
  },
});
if (values.run === undefined) printPlans(values.device);
else
  await decodeAll(
    values.run,
    values.variant,
    Number(values.size),
    values.dtype === 'f32' ? 'f32' : 'bf16',
    values.device,
  );
