/**
 * Measures the pictures that this package draws with the model: see evaluation/judge.ts for what counts as right.
 *
 *   npm run evaluate -- --data DATA --run RUN [--model FOLDER] [--pictures 200] [--dtype float32] [--output FILE]
 *
 * If PYTHON names a Python with torch, the torch model also draws the same prompts from the same noise.
 */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readTensor, writeSafetensors } from '../lib/checkpoint/tensor-file.ts';
import { type GenerateRequest, SanaPipeline, type TensorLike } from '../lib/index.ts';
import { torchRandn } from '../lib/pipeline/noise.ts';
import { seeded } from './captions/random.ts';
import { type Asked, decibels, judge, squaredDistance, type Verdict } from './evaluation/judge.ts';
import { evaluationTasks, type Task } from './evaluation/prompts.ts';
import { Bank } from './pictures/bank.ts';

const AT_ONCE = 8; // pictures
const TORCH_STEPS = 10;

const { values: options } = parseArgs({
  options: {
    data: { type: 'string', default: '.cache/training' },
    run: { type: 'string', default: '.cache/run' },
    model: { type: 'string', default: 'sana-tiny' },
    dtype: { type: 'string', default: 'auto' },
    pictures: { type: 'string', default: '200' },
    output: { type: 'string' },
  },
});

type Settings = Pick<GenerateRequest, 'numInferenceSteps' | 'guidanceScale' | 'scheduler'>;

const bank = await Bank.open(options.data);
const { concepts, styles } = bank.index;
const colours = Object.keys(bank.index.colours);
const stored = await readTensor(join(options.run, 'latents', 'latents.safetensors'), 'latents'); // [icons, colours, 2048]
const latentElements = stored.data.length / (concepts.length * styles.length * colours.length);

await using pipe = await SanaPipeline.fromPretrained(options.model, {
  dtype: options.dtype as 'auto' | 'float32' | 'bfloat16',
});
const results: Record<string, unknown>[] = [];

function report(line: Record<string, unknown>): void {
  results.push(line);
  console.log(JSON.stringify(line));
}

const tasks = evaluationTasks(bank, Number(options.pictures));
report({ autoencoder: 'held-out concepts, centred', ...(await reconstruct()) });
for (const task of tasks) report({ task: task.name, ...(await measure(task, {})) });
const [unseen] = tasks;
if (unseen !== undefined) {
  for (const numInferenceSteps of [20, 10, 5]) {
    for (const guidanceScale of [1, 1.7, 3, 4.5]) {
      const settings = { numInferenceSteps, guidanceScale };
      report({ task: unseen.name, ...settings, ...(await measure(unseen, settings)) });
    }
  }
  if (process.env.PYTHON !== undefined) report({ task: unseen.name, ...(await compareWithTorch(unseen)) });
}
if (options.output !== undefined) {
  await writeFile(options.output, `${results.map((line) => JSON.stringify(line)).join('\n')}\n`);
}
await bank.close();

/** PSNR of pictures through the autoencoder, for concepts that it was never trained on, and at any size and place. */
async function reconstruct(): Promise<Record<string, number>> {
  const random = seeded(7);
  const centred: number[] = [];
  const varied: number[] = [];
  for (const [concept, { heldOut }] of concepts.entries()) {
    if (!heldOut) continue;
    for (const style of styles.keys()) {
      const colour = colours[Math.floor(random() * colours.length)] ?? '';
      const scale = 0.6 + 0.38 * random();
      const shift = () => 0.5 + (random() - 0.5) * (1 - scale);
      const placement = { scale, centre: [shift(), shift()] as const };
      const pictures = [
        await bank.picture(concept, style, colour),
        await bank.picture(concept, style, colour, placement),
      ];
      const again = await pipe.autoencoder.decode(await pipe.autoencoder.encode(stack(pictures)));
      const [first = 0, second = 0] = pictures.map((picture, i) => decibels(picture, clamped(slice(again, i))));
      centred.push(first);
      varied.push(second);
    }
  }
  return { pictures: centred.length, decibels: mean(centred), decibelsAtAnyPlace: mean(varied) };
}

/** Shares of right answers and mean PSNR of what the package draws. */
async function measure({ prompts }: Task, settings: Settings): Promise<Record<string, number>> {
  const drawn: Float32Array[] = [];
  for (let first = 0; first < prompts.length; first += AT_ONCE) {
    const part = prompts.slice(first, first + AT_ONCE);
    const { images } = await pipe.generate({
      ...settings,
      prompt: part.map(({ text }) => text),
      seed: part.map((_, i) => first + i),
    });
    drawn.push(...images.map(({ data }) => planes(data)));
  }
  return await judgeAll(
    prompts.map(({ asked }) => asked),
    drawn,
  );
}

async function judgeAll(asked: readonly Asked[], drawn: readonly Float32Array[]): Promise<Record<string, number>> {
  const verdicts: Verdict[] = [];
  for (const [i, picture] of drawn.entries()) {
    const wanted = asked[i];
    if (wanted === undefined) throw new Error('more pictures than prompts');
    const truth = await bank.picture(wanted.concept, wanted.style, wanted.colour);
    const latent = (await pipe.autoencoder.encode(stack([picture]))).data;
    verdicts.push(judge(bank, wanted, picture, truth, latent, latentsOn(wanted.colour)));
  }
  const share = (right: (verdict: Verdict) => boolean) =>
    Number((verdicts.filter(right).length / verdicts.length).toFixed(4));
  return {
    pictures: verdicts.length,
    background: share(({ background }) => background),
    concept: share(({ concept }) => concept),
    style: share(({ style }) => style),
    decibels: mean(verdicts.map((verdict) => verdict.decibels)),
  };
}

/** The same noise and prompts through the torch model, with the weights of the checkpoint, in f32. */
async function compareWithTorch({ prompts }: Task): Promise<Record<string, unknown>> {
  const guidanceScale = 1.7;
  const noise = prompts.map((_, i) => torchRandn(BigInt(i), latentElements));
  const folder = await mkdtemp(join(tmpdir(), 'sana-evaluate-'));
  try {
    await writeFile(join(folder, 'prompts.json'), JSON.stringify(prompts.map(({ text }) => text)));
    await writeSafetensors(join(folder, 'noise.safetensors'), new Map([['noise', batchOfLatents(noise)]]));
    const settings = ['--steps', String(TORCH_STEPS), '--guidance', String(guidanceScale)];
    const script = join(import.meta.dirname, 'train.py');
    const python = process.env.PYTHON ?? 'python';
    const files = ['--start', options.model, '--data', options.data, '--run', options.run, '--out', folder];
    execFileSync(python, [script, 'draw', ...files, ...settings], { stdio: ['ignore', 'ignore', 'inherit'] });
    const theirLatents = await readTensor(join(folder, 'drawn.safetensors'), 'latents');
    const theirPictures = await readTensor(join(folder, 'drawn.safetensors'), 'pictures');
    let difference = 0;
    let power = 0;
    for (const [i, { text }] of prompts.entries()) {
      const { latents } = await pipe.generate({
        prompt: text,
        latents: batchOfLatents([noise[i] ?? new Float32Array()]),
        numInferenceSteps: TORCH_STEPS,
        guidanceScale,
        scheduler: 'flow-euler',
        outputType: 'latent',
      });
      const theirs = (theirLatents.data as Float32Array).subarray(i * latentElements, (i + 1) * latentElements);
      difference += squaredDistance(latents?.data ?? new Float32Array(), theirs);
      power += squaredDistance(theirs, new Float32Array(theirs.length));
    }
    const elements = theirPictures.data.length / prompts.length;
    const drawn = prompts.map((_, i) => (theirPictures.data as Float32Array).slice(i * elements, (i + 1) * elements));
    const verdict = await judgeAll(
      prompts.map(({ asked }) => asked),
      drawn,
    );
    const settingsUsed = { numInferenceSteps: TORCH_STEPS, guidanceScale, scheduler: 'flow-euler' };
    return { drawnBy: 'torch', ...settingsUsed, ...verdict, latentsRelL2: Math.sqrt(difference / power) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The latents of every icon on one background. */
function latentsOn(colour: string): Float32Array[] {
  const at = colours.indexOf(colour);
  return Array.from({ length: concepts.length * styles.length }, (_, icon) => {
    const first = (icon * colours.length + at) * latentElements;
    return (stored.data as Float32Array).subarray(first, first + latentElements);
  });
}

function batchOfLatents(latents: readonly Float32Array[]): TensorLike {
  const data = new Float32Array(latents.length * latentElements);
  for (const [i, one] of latents.entries()) data.set(one, i * latentElements);
  const side = Math.sqrt(latentElements / 32);
  return { data, shape: [latents.length, 32, side, side] };
}

function stack(pictures: readonly Float32Array[]): TensorLike {
  const { size } = bank.index;
  const data = new Float32Array(pictures.length * 3 * size * size);
  for (const [i, picture] of pictures.entries()) data.set(picture, i * picture.length);
  return { data, shape: [pictures.length, 3, size, size] };
}

function slice({ data, shape: [count = 1] }: TensorLike, index: number): Float32Array {
  const elements = data.length / count;
  return data.subarray(index * elements, (index + 1) * elements);
}

/** RGB bytes, [size, size, 3], to [3, size, size] in [-1, 1]. */
function planes(rgb: Uint8Array): Float32Array {
  const plane = rgb.length / 3;
  return Float32Array.from({ length: rgb.length }, (_, i) => {
    const channel = Math.floor(i / plane);
    return (rgb[(i - channel * plane) * 3 + channel] ?? 0) / 127.5 - 1;
  });
}

function clamped(picture: Float32Array): Float32Array {
  return picture.map((value) => Math.min(1, Math.max(-1, value)));
}

function mean(values: readonly number[]): number {
  return Number((values.reduce((a, b) => a + b, 0) / values.length).toFixed(2));
}
