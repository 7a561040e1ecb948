/** `sana-native generate`: from a prompt to image files. */

import { Command, Option } from 'commander';
import {
  type GenerateRequest,
  type GenerateResult,
  LIMITS,
  type LoadOptions,
  readLatents,
  SanaPipeline,
  subjectsIn,
  type Vocabulary,
  writeLatents,
} from '../../index.ts';
import { checkDestination, imagePaths } from '../destination.ts';
import {
  addFlags,
  heading,
  kebabCase,
  type LoraFlag,
  type LoraFlags,
  loraFlags,
  lorasOf,
  type ModelFlags,
  modelFlags,
  modelOf,
  type RequestFlags,
  requestFlags,
  requestOf,
} from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { printJson, printLines, usageError, warn, writeOutput } from '../output.ts';
import { duration, type ProgressBar, progressBar, showLoading } from '../progress.ts';
import { differences, readRequest } from '../repeat.ts';

type Flags = ModelFlags &
  LoraFlags &
  RequestFlags & {
    readonly output?: string;
    readonly from?: string;
    readonly metadata: boolean;
    readonly json?: boolean;
  };

const EXAMPLES = `
Several images are numbered: -o fox.png -n 2 writes fox-0.png and fox-1.png.

Examples:
  sana-native "a smiling cat with heart eyes on a teal background" -o cat.png
  sana-native generate "a red fox in snow" --model ./Sana_600M_512px_diffusers -o fox.png
  echo "a red fox in snow" | sana-native generate - --model ./model -o - > fox.png
  sana-native "a red fox in snow" --model ./model --lora watercolour.safetensors:0.8 -o fox.png
  sana-native generate --from fox.png --seed 8 --model ./model -o another.png`;

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('draw images from a prompt')
    .argument('[prompt]', "what to draw; '-' reads it from standard input");
  return addFlags(command, [...modelFlags(), ...loraFlags(), ...requestFlags(), ...outputFlags()])
    .addHelpText('after', EXAMPLES)
    .action(generate);
}

function outputFlags(): Option[] {
  return [
    new Option('-o, --output <file>', ".png, .jpg, .webp or .avif; '-' is standard output (default: sana-SEED.png)"),
    new Option('--from <image>', 'make an image again from its metadata; other flags override it'),
    new Option('--no-metadata', 'do not record in the image how it was made'),
    new Option('--json', 'print one JSON object on standard output'),
  ].map((option) => option.helpGroup(heading('Output')));
}

async function generate(promptArgument: string | undefined, flags: Flags): Promise<void> {
  const { model, options } = modelOf(flags);
  const repeated = flags.from === undefined ? undefined : await readRequest(flags.from);
  const prompt = promptArgument === '-' ? await readStandardInput() : (promptArgument ?? repeated?.request.prompt);
  if (prompt === undefined) {
    throw usageError('No prompt was given', 'Pass what to draw: sana-native generate "a red fox in snow".');
  }
  for (const name of repeated?.needs ?? []) {
    if (flags[name] !== undefined) continue;
    const flag = `--${kebabCase(name)}`;
    if (name === 'latents') {
      throw usageError('The image was made from given latents, not from a seed', `Pass them with ${flag} FILE.`);
    }
    throw usageError(`The image was made from another picture (${flag})`, `Pass that picture again with ${flag} FILE.`);
  }
  const lora = lorasOf(flags);
  const { loraScale, ...before } = repeated?.request ?? {};
  const request: GenerateRequest = {
    ...before,
    ...(loraScale !== undefined && lora.length > 0 && { loraScale }), // without adapters it has no effect
    ...requestOf(flags),
    prompt,
    ...(flags.latents !== undefined && { latents: await readLatents(flags.latents) }),
  };
  const { numImagesPerPrompt = 1, seed, outputType = 'image' } = request;
  if (Array.isArray(seed) && seed.length !== numImagesPerPrompt) {
    throw usageError(
      `Got ${seed.length} seeds for ${numImagesPerPrompt} image(s)`,
      'Pass one seed, or one for each image.',
    );
  }
  await checkDestination(flags.output, numImagesPerPrompt, outputType, flags.json === true);

  const progress = progressBar();
  await interruptible(async (signal) => {
    try {
      // The recorded dtype, unless another is requested: another one gives a slightly different picture.
      const loading = { ...(repeated?.made.dtype && { dtype: repeated.made.dtype }), ...options };
      const { result, warnings } = await draw(model, loading, lora, request, progress, signal);
      const remarks =
        repeated === undefined || result.images[0] === undefined
          ? warnings
          : [...warnings, ...differences(repeated.made, { source: 'sana-native', ...result.images[0].parameters })];
      progress.clear();
      for (const remark of remarks) warn(remark);
      signal.throwIfAborted();
      await deliver(result, flags, signal, remarks);
    } finally {
      progress.clear();
    }
  });
}

async function draw(
  model: string,
  options: LoadOptions,
  lora: readonly LoraFlag[],
  request: GenerateRequest,
  progress: ProgressBar,
  signal: AbortSignal,
): Promise<{ result: GenerateResult; warnings: string[] }> {
  const pipe = await SanaPipeline.fromPretrained(model, {
    ...options,
    signal,
    onProgress: (event) => showLoading(progress, event),
  });
  try {
    warnOfUnknown(request.prompt, pipe.vocabulary, progress);
    const warnings: string[] = [];
    for (const { path, ...scale } of lora) {
      const loaded = await pipe.loadLora(path, { ...scale, signal });
      warnings.push(...loaded.warnings.map((warning) => `LoRA ${loaded.name}: ${warning}`));
    }
    progress.show('Drawing', 0);
    const result = await pipe.generate({
      ...request,
      signal,
      onStep: ({ step, totalSteps }) => progress.show('Drawing', step / totalSteps),
    });
    return { result, warnings };
  } finally {
    await pipe.dispose();
  }
}

/** A model with a vocabulary cannot draw a prompt that names nothing in it. */
function warnOfUnknown(
  prompt: GenerateRequest['prompt'],
  vocabulary: Vocabulary | undefined,
  progress: ProgressBar,
): void {
  if (vocabulary === undefined) return;
  for (const text of typeof prompt === 'string' ? [prompt] : prompt) {
    if (text === '' || subjectsIn(text, vocabulary.subjects).length > 0) continue;
    progress.clear();
    warn('the prompt names nothing that this small model knows: `sana-native vocabulary` lists what it draws');
  }
}

/** Writes the results to the requested destination and reports it. */
async function deliver(
  result: GenerateResult,
  flags: Flags,
  signal: AbortSignal,
  remarks: readonly string[],
): Promise<void> {
  const { images, latents, timings, memory, seeds } = result;
  const encoding = { metadata: flags.metadata };
  if (flags.output === '-') {
    const [image] = images;
    if (image !== undefined) await writeOutput(await image.toBuffer('png', encoding));
    return;
  }
  const run = { seeds, timings, memory, warnings: remarks };
  let paths: string[];
  if (latents !== undefined && flags.output !== undefined) {
    paths = [flags.output];
    await writeLatents(flags.output, latents);
    if (flags.json === true) return await printJson({ latents: { path: flags.output, shape: latents.shape }, ...run });
  } else {
    paths = imagePaths(flags.output, images);
    for (const [i, image] of images.entries()) {
      signal.throwIfAborted();
      await image.save(paths[i] ?? '', encoding);
    }
    if (flags.json === true) {
      return await printJson({ images: images.map((image, i) => ({ path: paths[i], ...image.toJSON() })), ...run });
    }
  }
  await printLines(paths);
  if (process.stderr.isTTY) {
    const gigabytes = (memory.peakBytes / 1e9).toFixed(1);
    warn(`seed ${seeds.join(', ')}, ${duration(timings.totalMs)}, ${gigabytes} GB`);
  }
}

/** All of standard input, without the final line break. */
async function readStandardInput(): Promise<string> {
  process.stdin.setEncoding('utf8');
  let text = '';
  for await (const chunk of process.stdin) {
    text += chunk;
    if (text.length > LIMITS.maxTextLength) throw usageError('The prompt is too long', 'Shorten it.');
  }
  return text.replace(/\r?\n$/, '');
}
