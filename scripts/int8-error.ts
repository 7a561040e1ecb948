/**
 * Prints how far int8 and bfloat16 (and fp8, if the device supports it) are from float32: the transformer's hidden
 * state after every block at several noise levels, and the pictures. The tables of docs/numerics.md.
 *
 *     npx tsx scripts/int8-error.ts [--model FOLDER] [--variant bf16] [--device cpu] ['a fox' 'an owl' ...]
 */

import { parseArgs } from 'node:util';
import { dtypeOfName, type ModelDtype } from '../lib/base/dtypes.ts';
import { BUILT_IN_MODEL, modelFolder } from '../lib/checkpoint/built-in.ts';
import { type Checkpoint, openCheckpoint } from '../lib/checkpoint/checkpoint.ts';
import { type DeviceLease, openDevice } from '../lib/device/devices.ts';
import { Graph } from '../lib/graph/graph.ts';
import { Arena, Program, read, write } from '../lib/graph/program.ts';
import { reshape, Storage, type Tensor } from '../lib/graph/tensor.ts';
import { type DeviceName, type SanaImage, SanaPipeline, type TensorLike } from '../lib/index.ts';
import { channelsLast } from '../lib/models/channel-order.ts';
import { SanaTransformer } from '../lib/networks/sana-transformer.ts';
import { TorchGenerator } from '../lib/pipeline/noise.ts';

const SEED = 7;
const SIGMAS = [1, 0.7, 0.4, 0.1]; // shares of noise in the transformer's input

/** The inputs of the transformer. */
interface Input {
  readonly embeds: TensorLike; // [1, T, captionChannels]
  readonly latents: Float32Array; // [N, inChannels]
  readonly height: number; // latent pixels
  readonly width: number;
  readonly sigma: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: BUILT_IN_MODEL },
    variant: { type: 'string' },
    device: { type: 'string', default: 'cpu' },
  },
});
const prompts =
  positionals.length > 0
    ? positionals
    : [
        'a smiling cat with heart eyes on a teal background',
        'a fox, flat style, on a white background',
        'noto style owl, on a purple background',
        'a rocket',
        'a red apple on a navy background',
        'a bicycle, fluent style, on a yellow background',
        'a cactus, flat style, on a pink background',
        'a guitar on a green background',
      ];
const device = values.device as DeviceName;
const variant = values.variant === undefined ? {} : { variant: values.variant };
const narrow = (['bfloat16', 'int8', 'fp8'] as const).filter(isThere);

function isThere(dtype: 'bfloat16' | 'int8' | 'fp8'): boolean {
  const lease = openDevice(device);
  const there = dtype !== 'fp8' || lease.native.info.refusals.f8 === undefined;
  lease.release();
  return there;
}

await printPictures();
await printBlocks();

// ---- pictures -------------------------------------------------------------------------------------------------------

async function printPictures(): Promise<void> {
  const exact = await draw('float32');
  console.log(`\nPSNR of pictures to those of float32, in dB (${values.model}, seed ${SEED}):\n`);
  console.log(`| prompt | ${narrow.join(' | ')} |\n|---|${narrow.map(() => '---|').join('')}`);
  const columns: number[][] = [];
  for (const dtype of narrow) {
    columns.push((await draw(dtype)).map((image, i) => decibels(image, exact[i] as SanaImage))); // as many
  }
  for (const [i, prompt] of prompts.entries()) {
    console.log(`| ${prompt} | ${columns.map((column) => column[i]?.toFixed(1)).join(' | ')} |`);
  }
  const mean = columns.map((column) => column.reduce((a, b) => a + b, 0) / column.length);
  console.log(`| mean | ${mean.map((value) => value.toFixed(1)).join(' | ')} |`);
}

async function draw(dtype: 'float32' | (typeof narrow)[number]): Promise<SanaImage[]> {
  await using pipe = await SanaPipeline.fromPretrained(values.model, { device, dtype, ...variant });
  const images: SanaImage[] = [];
  for (const prompt of prompts) images.push(...(await pipe.generate({ prompt, seed: SEED })).images);
  return images;
}

function decibels(image: SanaImage, exact: SanaImage): number {
  let sum = 0;
  for (const [i, value] of image.data.entries()) sum += (value - (exact.data[i] ?? 0)) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / image.data.length));
}

// ---- blocks ---------------------------------------------------------------------------------------------------------

async function printBlocks(): Promise<void> {
  const inputs = await inputsOf();
  const checkpoint = await openCheckpoint(modelFolder(values.model), variant);
  const lease = openDevice(device);
  try {
    const exact = await hiddenStates(lease, checkpoint, 'f32', inputs);
    console.log(`\nRelative L2 of the transformer's hidden state to that of float32 (${values.model}):\n`);
    console.log(`| after | ${narrow.join(' | ')} |\n|---|${narrow.map(() => '---|').join('')}`);
    const rounded: Map<string, Float32Array[]>[] = [];
    for (const dtype of narrow) {
      const packed = dtypeOfName(dtype);
      rounded.push(await hiddenStates(lease, checkpoint, packed, inputs));
    }
    for (const [name, expected] of exact) {
      const errors = rounded.map((states) => relativeL2(states.get(name) ?? [], expected));
      console.log(`| ${name} | ${errors.map((error) => error.toExponential(1)).join(' | ')} |`);
    }
  } finally {
    lease.release();
    checkpoint.close();
  }
}

/** Pictures of the prompts, as float32 draws them, with noise added. */
async function inputsOf(): Promise<Input[]> {
  await using pipe = await SanaPipeline.fromPretrained(values.model, { device, dtype: 'float32', ...variant });
  const inputs: Input[] = [];
  for (const prompt of prompts) {
    const { embeds } = await pipe.textEncoder.encode({ prompt });
    const { latents } = await pipe.generate({ prompt, seed: SEED, outputType: 'latent' });
    if (latents === undefined) throw new Error('latents were requested');
    const [, channels = 0, height = 0, width = 0] = latents.shape;
    const noise = new Float32Array(await new TorchGenerator(BigInt(SEED)).draw(latents.data.length));
    for (const sigma of SIGMAS) {
      const noisy = latents.data.map((value, i) => (1 - sigma) * value + sigma * (noise[i] ?? 0));
      inputs.push({ embeds, latents: channelsLast(noisy, 1, channels, height * width), height, width, sigma });
    }
  }
  return inputs;
}

/** The hidden states after patch embedding and blocks, and the velocity, for each input. */
async function hiddenStates(
  { native }: DeviceLease,
  { transformer }: Checkpoint,
  dtype: ModelDtype,
  inputs: readonly Input[],
): Promise<Map<string, Float32Array[]>> {
  const model = new SanaTransformer(native, transformer.config, dtype);
  const arena = new Arena(native);
  await model.weights.load(transformer);
  const states = new Map<string, Float32Array[]>();
  try {
    for (const input of inputs) {
      for (const [name, data] of await forward(native, model, arena, input)) {
        states.set(name, [...(states.get(name) ?? []), data]);
      }
    }
    return states;
  } finally {
    arena.dispose();
    model.weights.dispose();
  }
}

async function forward(
  native: DeviceLease['native'],
  model: SanaTransformer,
  arena: Arena,
  { embeds, latents, height, width, sigma }: Input,
): Promise<Map<string, Float32Array>> {
  const { config, channels, weights } = model;
  if (config.guidanceEmbeds) throw new Error('models that embed the guidance scale are not measured here');
  const { dtype } = weights;
  const [, tokens = 0] = embeds.shape;
  const pixels = height * width;
  const storage = new Storage(native, 'forward');
  const given: [Tensor, Float32Array][] = [];
  const input = (shape: readonly number[], data: Float32Array): Tensor => {
    const tensor = storage.reserve('f32', shape);
    given.push([tensor, data]);
    return tensor;
  };
  const seen = new Map<string, Tensor>();
  const g = new Graph('transformer');
  const observe = (name: string, tensor: Tensor): void => {
    if (!/^(patch|block \d+|velocity)$/.test(name)) return;
    const kept = storage.reserve('f32', tensor.shape);
    seen.set(name, kept);
    g.convert(tensor, { into: kept });
  };
  const keysValues = Array.from({ length: model.layers }, () => storage.reserve(dtype, [tokens, 2 * channels]));
  model.recordContext(g, g.convert(input([tokens, config.captionChannels], embeds.data), { dtype }), keysValues);
  const map = g.convert(input([1, pixels, config.inChannels], latents), { dtype });
  const velocity = model.record(
    g,
    {
      latents: reshape(map, [1, height, width, config.inChannels]),
      timestep: input([1], Float32Array.of(1000 * sigma)),
      text: { keysValues, lengths: [tokens] },
      ...(config.interpolationScale !== null && {
        positions: input([1, pixels, channels], model.positions(height, width)),
      }),
    },
    observe,
  );
  observe('velocity', velocity);
  const plan = g.plan();
  storage.allocate();
  try {
    for (const [tensor, data] of given) await write(native, tensor, data);
    const program = new Program(native, plan);
    try {
      await program.run(arena);
    } finally {
      program.dispose();
    }
    const states = new Map<string, Float32Array>();
    for (const [name, tensor] of seen) states.set(name, new Float32Array(await read(native, tensor)));
    return states;
  } finally {
    storage.dispose();
  }
}

/** Over all elements of all inputs. */
function relativeL2(actual: readonly Float32Array[], expected: readonly Float32Array[]): number {
  let difference = 0;
  let norm = 0;
  for (const [i, wanted] of expected.entries()) {
    for (const [j, value] of wanted.entries()) {
      difference += ((actual[i]?.[j] ?? Number.NaN) - value) ** 2;
      norm += value ** 2;
    }
  }
  return Math.sqrt(difference / norm);
}
