#!/usr/bin/env node
/** The command line: `sana-native COMMAND`. Exit codes are in exit-codes.ts. */

import { Command, CommanderError } from 'commander';
import { version } from '../version.ts';
import { benchCommand } from './bench.ts';
import { convertCommand } from './convert.ts';
import { EXIT } from './exit-codes.ts';
import { explainCommand } from './explain.ts';
import { generateCommand } from './generate.ts';
import { infoCommand } from './info.ts';
import { metadataCommand } from './metadata.ts';
import { reportError } from './output.ts';

const program = new Command('sana-native')
  .description('SANA text-to-image')
  .version(version, '-v, --version')
  .exitOverride()
  // Errors are reported below, in one way for all.
  .configureOutput({ outputError: () => {} })
  .showSuggestionAfterError();
for (const command of [
  generateCommand(),
  infoCommand(),
  explainCommand(),
  metadataCommand(),
  benchCommand(),
  convertCommand(),
]) {
  program.addCommand(command.copyInheritedSettings(program));
}

// A reader that has seen enough, e.g. `| head`, is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  process.stderr.write(`sana-native: Cannot write to standard output: ${error.message}\n`);
  process.exit(EXIT.failed);
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError && error.exitCode === 0) process.exitCode = EXIT.done;
  else if (error instanceof CommanderError && error.code === 'commander.help') process.exitCode = EXIT.usage;
  else process.exitCode = await reportError(error, process.argv.includes('--json'));
}
