// Formats every C++ and CUDA file with clang-format; with --check, only says which ones are not formatted.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const folders = ['core', 'platform', 'binding', 'cpu', 'cuda', 'test'];
const files = folders
  .filter((folder) => existsSync(folder))
  .flatMap((folder) =>
    readdirSync(folder, { recursive: true })
      .filter((name) => /\.(h|cc|cu|cuh)$/.test(name))
      .map((name) => join(folder, name)),
  );
const tool = join(dirname(createRequire(import.meta.url).resolve('clang-format-node/package.json')), 'build', 'cli.js');
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
try {
  execFileSync(process.execPath, [tool, ...mode, ...files], { stdio: 'inherit' });
} catch {
  console.error('Native sources are not formatted: run `npm run format`.');
  process.exit(1);
}
