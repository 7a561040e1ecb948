// Loads a LoRA adapter, draws with it at two strengths, and removes it again.
//
//   npx tsx examples/lora.mts [adapter.safetensors]
//
// No adapter for the built-in model is published, so without an argument this writes a small random one. With an adapter
// for a released model, load that model below. Writes without.png, with.png, weaker.png and removed.png.

import { writeFileSync } from 'node:fs';
import { SanaPipeline } from 'sana-native';

const adapter = process.argv[2] ?? writeRandomAdapter('random-lora.safetensors');

await using pipe = await SanaPipeline.fromPretrained('sana-tiny');
const request = { prompt: 'a guitar on a black background', seed: 7 };
const draw = async (file: string, loraScale?: number) => {
  const { images } = await pipe.generate({ ...request, ...(loraScale !== undefined && { loraScale }) });
  await images[0]?.save(file);
};

await draw('without.png');
const { warnings } = await pipe.loadLora(adapter, { scale: 0.8, name: 'example' });
for (const warning of warnings) console.warn(warning);
await draw('with.png');
await draw('weaker.png', 0.5); // half the strength, for this call
await pipe.unloadLora('example'); // the weights are the checkpoint's again, bit for bit
await draw('removed.png');

/** An adapter of rank 4 for the first self-attention's output, in the layout that diffusers and PEFT write. */
function writeRandomAdapter(file: string): string {
  const [rank, width] = [4, 224];
  const random = (count: number) => Float32Array.from({ length: count }, (_, i) => 0.2 * Math.sin(12.9898 * (i + 1)));
  const module = 'transformer.transformer_blocks.0.attn1.to_out.0';
  const a = random(rank * width);
  const b = random(width * rank);
  const header = JSON.stringify({
    [`${module}.lora_A.weight`]: { dtype: 'F32', shape: [rank, width], data_offsets: [0, a.byteLength] },
    [`${module}.lora_B.weight`]: {
      dtype: 'F32',
      shape: [width, rank],
      data_offsets: [a.byteLength, a.byteLength + b.byteLength],
    },
  });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(file, Buffer.concat([length, Buffer.from(header), Buffer.from(a.buffer), Buffer.from(b.buffer)]));
  return file;
}
