/**
 * Writes a checkpoint with random weights in the layout, names, shapes and sizes of a released SANA repository, for
 * benchmarks and tests without the real weights. The same seed gives the same bytes.
 *
 *   npm run make-checkpoint -- --model 0.6b --size 512 --variant bf16 -o checkpoints/sana-0.6b
 *   npm run make-checkpoint -- --model 1.5-4.8b -o checkpoints/sana-1.5
 *   npm run make-checkpoint -- --tiny --kind sprint --layers 5 --heads 3 --cross-heads 2 -o checkpoints/tiny
 */

import { Command, InvalidArgumentError, Option } from 'commander';
import { SanaError } from '../lib/base/errors.ts';
import {
  defaultShardBytes,
  gemmaTokenizer,
  tokenizerFrom,
  writeRandomCheckpoint,
} from './random-checkpoint/checkpoint.ts';
import {
  type CheckpointConfigs,
  type ModelKind,
  type ReleasedModel,
  type ReleasedSize,
  releasedConfigs,
  releasedModels,
  releasedSizes,
  tinyConfigs,
} from './random-checkpoint/configs.ts';
import type { StoredDType } from './random-checkpoint/gaussian.ts';
import { hasVariants, unsuffixedDType } from './random-checkpoint/releases.ts';
import { type Variant, variantDTypes } from './random-checkpoint/writer.ts';

const program = new Command('make-random-checkpoint')
  .requiredOption('-o, --output <folder>', 'where to write it')
  .addOption(new Option('--model <name>', 'released model to imitate').choices(releasedModels).default('0.6b'))
  .addOption(
    new Option(
      '--size <pixels>',
      'native image size (default: the smallest one that the model was released for)',
    ).choices(['512', '1024', '2048', '4096']),
  )
  .option('--controlnet', 'with a ControlNet: of 0.6b or 1.6b, at 1024')
  .addOption(
    new Option(
      '--variant <name>',
      "stored precision; 'none' is f32 (default: bf16; 1.5 and Sprint were released without variants, in bf16)",
    ).choices(['none', 'fp16', 'bf16']),
  )
  .option('--seed <number>', 'seed of the weights', wholeNumber(0), 0)
  .option('--shard-bytes <bytes>', 'largest file of tensors', wholeNumber(1), defaultShardBytes)
  .option('--hollow', 'zeros that take no disk space: for planning (sana-native explain), not for drawing')
  .option('--force', 'replace an existing checkpoint')
  .option('--tiny', 'a small model instead, with these dimensions:')
  .addOption(
    new Option('--kind <name>', 'kind of the small model')
      .choices(['sana', 'sana-2k', 'sana-4k', 'sana-1.5', 'sprint'])
      .default('sana'),
  )
  .option('--layers <n>', 'transformer blocks', wholeNumber(1), 3)
  .option('--control-layers <n>', 'blocks of a ControlNet, fewer than the transformer; 0: none', wholeNumber(0), 0)
  .option('--heads <n>', 'self-attention heads of 32 channels', wholeNumber(1), 2)
  .option('--cross-heads <n>', 'cross-attention heads; they divide the width', wholeNumber(1), 4)
  .option('--text-layers <n>', 'Gemma layers', wholeNumber(1), 3)
  .option('--text-hidden <n>', 'Gemma width', wholeNumber(1), 64)
  .option('--text-heads <n>', 'Gemma query heads', wholeNumber(1), 4)
  .option('--text-kv-heads <n>', 'Gemma key heads; they divide the query heads', wholeNumber(1), 2)
  .option('--text-head-dim <n>', 'channels of a Gemma head; even', wholeNumber(2), 32)
  .option('--vae-width <n>', 'autoencoder channels at full resolution; a multiple of 8', wholeNumber(8), 8)
  .option('--vae-layers <n>', 'autoencoder blocks in each stage', wholeNumber(1), 1)
  .option('--tokenizer <folder>', 'use the tokenizer of this folder instead of the Gemma vocabulary')
  .parse();

const options = program.opts();
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort(new Error('interrupted')));

try {
  const tokenizer = await (options.tokenizer === undefined ? gemmaTokenizer() : tokenizerFrom(options.tokenizer));
  const { variant, dtype } = stored();
  const configs = options.tiny ? tinyConfigs(tinyDimensions(), tokenizer.vocabSize) : released(tokenizer.vocabSize);
  const started = performance.now();
  let shown = -1;
  await writeRandomCheckpoint(options.output, {
    configs,
    tokenizer,
    variant,
    dtype,
    seed: options.seed,
    hollow: options.hollow ?? false,
    shardBytes: options.shardBytes,
    force: options.force ?? false,
    signal: interrupted.signal,
    onProgress({ component, writtenBytes, totalBytes }) {
      const percent = Math.floor((100 * writtenBytes) / totalBytes);
      if (percent === shown || (!process.stderr.isTTY && percent % 10 !== 0)) return;
      shown = percent;
      const line = `${String(percent).padStart(3)} %  ${(writtenBytes / 1e9).toFixed(2)} of ${(totalBytes / 1e9).toFixed(2)} GB  ${component}`;
      process.stderr.write(process.stderr.isTTY ? `\r${line.padEnd(60)}` : `${line}\n`);
    },
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stderr.write(`${process.stderr.isTTY ? '\n' : ''}wrote ${options.output} in ${seconds} s\n`);
} catch (error) {
  const hint = error instanceof SanaError ? `\n${error.hint}` : '';
  console.error(`\n${error instanceof Error ? error.message : String(error)}${hint}`);
  process.exitCode = 1;
}

function released(vocabSize: number): CheckpointConfigs {
  const model = options.model as ReleasedModel;
  const controlnet = options.controlnet ?? false;
  const [least] = controlnet ? [1024] : releasedSizes(model);
  return releasedConfigs(model, Number(options.size ?? least) as ReleasedSize, vocabSize, { controlnet });
}

/** The names and contents of the files. */
function stored(): { variant: Variant; dtype: StoredDType } {
  const model = options.model as ReleasedModel;
  const plain = !options.tiny && !hasVariants(model);
  const variant: Variant = options.variant ?? (plain ? 'none' : 'bf16');
  if (plain && variant !== 'none') program.error(`error: ${model} was released without variants: leave --variant out`);
  if (variant !== 'none') return { variant, dtype: variantDTypes[variant] };
  return { variant, dtype: options.tiny ? 'F32' : unsuffixedDType(model) };
}

function tinyDimensions() {
  const {
    layers,
    controlLayers,
    heads,
    crossHeads,
    textLayers,
    textHidden,
    textHeads,
    textKvHeads,
    textHeadDim,
    vaeWidth,
    vaeLayers,
  } = options;
  const fits = (holds: boolean, rule: string): void => {
    if (!holds) program.error(`error: ${rule}`);
  };
  fits(controlLayers < layers, `--control-layers ${controlLayers} must be fewer than --layers ${layers}`);
  fits((32 * heads) % crossHeads === 0, `--cross-heads ${crossHeads} must divide the width 32 x ${heads}`);
  fits(textHeads % textKvHeads === 0, `--text-kv-heads ${textKvHeads} must divide --text-heads ${textHeads}`);
  fits(textHeadDim % 2 === 0, `--text-head-dim ${textHeadDim} must be even`);
  fits(vaeWidth % 8 === 0, `--vae-width ${vaeWidth} must be a multiple of 8`);
  return {
    kind: options.kind as ModelKind,
    layers,
    controlLayers,
    heads,
    crossHeads,
    textLayers,
    textHidden,
    textHeads,
    textKvHeads,
    textHeadDim,
    vaeWidth,
    vaeLayers,
  };
}

function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`Expected an integer of at least ${least}.`);
    }
    return value;
  };
}
