/** `sana-native pull`: downloads the files of a hub repository into the cache, before they are needed. */

import { Command } from 'commander';
import { pullRepository } from '../../pipeline/model-source.ts';
import { checkLoadOptions } from '../../request/load-options.ts';
import { defined } from '../flags.ts';
import { interruptible } from '../interrupt.ts';
import { printJson, printLines, warn } from '../output.ts';
import { progressBar, showLoading } from '../progress.ts';

interface Flags {
  readonly variant?: string;
  readonly revision?: string;
  readonly cacheDir?: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Only what loading reads is downloaded, into the cache that Python uses too, and what is there is kept. Run it again
after an interruption: it goes on where it stopped. A token for gated repositories comes from HF_TOKEN or
\`hf auth login\`, never from the command line, which others can see.

Examples:
  sana-native pull Efficient-Large-Model/Sana_600M_512px_diffusers --variant fp16
  sana-native generate "a red fox in snow" --model Efficient-Large-Model/Sana_600M_512px_diffusers --variant fp16`;

export function pullCommand(): Command {
  return new Command('pull')
    .description('download a model from the hub into the cache, and print its folder')
    .argument('<repository>', 'owner/name')
    .option('--variant <name>', "which weight files, if there are several, e.g. 'fp16'")
    .option('--revision <name>', 'branch, tag or commit (default: main)')
    .option('--cache-dir <folder>', "cache folder (default: Python's cache, HF_HUB_CACHE)")
    .option('--json', 'print one JSON object on standard output')
    .addHelpText('after', EXAMPLES)
    .action(pull);
}

async function pull(repository: string, flags: Flags): Promise<void> {
  const { variant, revision, cacheDir } = flags;
  const progress = progressBar();
  const { commit, folder, files, receivedBytes } = await interruptible(async (signal) => {
    try {
      const options = checkLoadOptions({
        ...defined({ variant, revision, cacheDir }),
        signal,
        onProgress: (event) => showLoading(progress, event),
      });
      return await pullRepository(repository, { ...options, refresh: true });
    } finally {
      progress.clear();
    }
  });
  if (flags.json === true) {
    const listed = files.map(({ name, size }) => ({ name, bytes: size }));
    return await printJson({ repository, commit, folder, files: listed, receivedBytes });
  }
  await printLines([folder]);
  if (process.stderr.isTTY) {
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    warn(
      `${files.length} files, ${(bytes / 1e9).toFixed(2)} GB, of which ${(receivedBytes / 1e9).toFixed(2)} GB downloaded now`,
    );
  }
}
