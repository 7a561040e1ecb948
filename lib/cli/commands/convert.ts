/** `sana-native convert`: a checkpoint of the official repository to the diffusers layout. */

import { Command, Option } from 'commander';
import { type ActivationDtype, activationDtypes, publicDtype } from '../../base/dtypes.ts';
import { convertCheckpoint } from '../../convert/convert.ts';
import { IMAGE_SIZES, type ImageSize } from '../../convert/image-size.ts';
import { defined, integer } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { printJson, printLines, warn } from '../output.ts';
import { progressBar } from '../progress.ts';

/** The names that files use, and those that the other commands use. */
const DTYPES: ReadonlyMap<string, ActivationDtype> = new Map([
  ...activationDtypes.map((dtype) => [dtype, dtype] as const),
  ...activationDtypes.map((dtype) => [publicDtype(dtype), dtype] as const),
]);

interface Flags {
  readonly output: string;
  readonly base?: string;
  readonly imageSize?: string;
  readonly dtype?: string;
  readonly ema?: boolean;
  readonly crossAttentionHeads?: number;
  readonly force?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
The file is read as data: nothing in it is executed, and one that could run code in Python is refused.

Examples:
  sana-native convert Sana_1600M_1024px.pth -o Sana_1600M_1024px --base ./Sana_600M_512px_diffusers
  sana-native convert Sana_1600M_4Kpx_BF16.pth -o transformer --image-size 4096
  sana-native convert dc-ae-f32c32-sana-1.1/model.safetensors -o vae`;

export function convertCommand(): Command {
  return new Command('convert')
    .description('convert a checkpoint of the official repository to the diffusers layout')
    .argument('<file>', 'a .pth or .safetensors file of a transformer, a ControlNet or a DC-AE')
    .requiredOption('-o, --output <folder>', 'the folder to create: the component, or with --base the whole pipeline')
    .option('--base <folder>', 'a pipeline in diffusers layout that provides everything else')
    .addOption(
      new Option('--image-size <pixels>', 'size it was trained for (default: read from the file)').choices(
        IMAGE_SIZES.map(String),
      ),
    )
    .addOption(new Option('--dtype <type>', 'dtype to store (default: unchanged)').choices([...DTYPES.keys()]))
    .option('--ema', 'use the moving average of the weights, if the file has it')
    .option('--cross-attention-heads <count>', 'number of heads, for a width that was not released', integer(1, 1024))
    .option('--force', 'replace an existing model')
    .option('--json', 'print one JSON object on standard output')
    .addHelpText('after', EXAMPLES)
    .action(convert);
}

async function convert(input: string, flags: Flags): Promise<void> {
  const { output, base, imageSize, dtype, ema, crossAttentionHeads, force } = flags;
  const progress = progressBar();
  const conversion = await interruptible(async (signal) => {
    try {
      return await convertCheckpoint({
        input,
        output,
        signal,
        ...defined({
          base,
          imageSize: imageSize === undefined ? undefined : (Number(imageSize) as ImageSize), // one of its choices
          dtype: dtype === undefined ? undefined : DTYPES.get(dtype),
          weights: ema === true ? ('ema' as const) : undefined,
          crossAttentionHeads,
          force,
        }),
        onProgress: ({ writtenBytes, totalBytes }) => progress.show('Converting', writtenBytes / totalBytes),
      });
    } finally {
      progress.clear();
    }
  });
  for (const warning of conversion.warnings) warn(warning);
  if (flags.json === true) return await printJson(conversion);
  await printLines([output]);
  if (process.stderr.isTTY) {
    const { component, tensors, bytes, dropped } = conversion;
    const without = dropped.length === 0 ? '' : `, without ${dropped.length} that are not needed`;
    warn(`${component}, ${tensors} tensors, ${(bytes / 1e9).toFixed(2)} GB${without}`);
  }
}
