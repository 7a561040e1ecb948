#!/usr/bin/env node
/** The command line: `sana-native COMMAND`. Exit codes are in exit-codes.ts. */

import { Command, CommanderError } from 'commander';
import { editDistance } from '../base/edit-distance.ts';
import { version } from '../base/package.ts';
import { benchCommand } from './commands/bench.ts';
import { buildCommand } from './commands/build.ts';
import { convertCommand } from './commands/convert.ts';
import { explainCommand } from './commands/explain.ts';
import { generateCommand } from './commands/generate.ts';
import { infoCommand } from './commands/info.ts';
import { metadataCommand } from './commands/metadata.ts';
import { pullCommand } from './commands/pull.ts';
import { vocabularyCommand } from './commands/vocabulary.ts';
import { EXIT } from './exit-codes.ts';
import { reportError, usageError } from './output.ts';

const program = new Command('sana-native')
  .description('SANA text-to-image')
  .version(version, '-v, --version')
  .exitOverride()
  // The column of the flags is wide; wrap the descriptions beside it all the same.
  .configureHelp({ minWidthToWrap: 20 })
  // Errors are reported below, in one place for all commands.
  .configureOutput({ outputError: () => {} })
  .showSuggestionAfterError();
// `sana-native "a red fox" -o fox.png` draws: the word `generate` may be omitted.
program.addCommand(generateCommand().copyInheritedSettings(program), { isDefault: true });
for (const command of [
  infoCommand(),
  explainCommand(),
  vocabularyCommand(),
  metadataCommand(),
  benchCommand(),
  convertCommand(),
  pullCommand(),
  buildCommand(),
]) {
  program.addCommand(command.copyInheritedSettings(program));
}

// A reader that closes early, such as `| head`, is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  process.stderr.write(`sana-native: Cannot write to standard output: ${error.message}\n`);
  process.exit(EXIT.failed);
});

/** The first word may be a prompt; if it is close to the name of a command, it is more likely a typo. */
function checkFirstWord(word: string): void {
  const names = program.commands.map((command) => command.name());
  if (names.includes(word)) return;
  const meant = names.find((name) => editDistance(word, name) <= Math.floor(word.length / 3));
  if (meant === undefined) return;
  throw usageError(
    `Unknown command '${word}'`,
    `Did you mean ${meant}? To use it as a prompt: sana-native generate ${word}.`,
  );
}

try {
  if (process.argv.length <= 2) program.help({ error: true });
  checkFirstWord(process.argv[2] ?? '');
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError && error.exitCode === 0) process.exitCode = EXIT.done;
  else if (error instanceof CommanderError && error.code === 'commander.help') process.exitCode = EXIT.usage;
  else process.exitCode = await reportError(error, process.argv.includes('--json'));
}
