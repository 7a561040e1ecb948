/** The code blocks of the documentation, and the package as a user's project has it, to run them with. */

import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '../..');
const require = createRequire(import.meta.url);
const tsx = pathToFileURL(require.resolve('tsx')).href;
const tsc = join(root, 'node_modules/.bin/tsc');

export interface Example {
  readonly language: string;
  readonly code: string;
  /** The name that the line before it gives it: ``  `app.mjs`:  ``. */
  readonly file?: string;
  /** Why it is not run here: the line after it, `*Not run by the tests: WHY.*`. */
  readonly notRun?: string;
}

export function examplesOf(page: string): Example[] {
  const blocks = page.matchAll(/(?:([^\n]*)\n\n)?^```(\w+)\n([\s\S]*?)^```$(?:\n\n\*Not run by the tests: (.+)\*$)?/gm);
  return [...blocks].map(([, before = '', language = '', code = '', notRun]) => {
    const [, file] = /`([\w./-]+\.\w+)`:$/.exec(before) ?? [];
    return { language, code, ...(file !== undefined && { file }), ...(notRun !== undefined && { notRun }) };
  });
}

/** A folder with the package in `node_modules`, compiled from the sources, and its command on the path. */
export class Project {
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  #examples = 0;

  constructor(folder: string) {
    this.#folder = folder;
    const modules = join(folder, 'node_modules');
    const installed = join(modules, 'sana-native');
    mkdirSync(installed, { recursive: true });
    execFileSync(tsc, ['-p', join(root, 'tsconfig.json'), '--outDir', join(installed, 'dist')], { encoding: 'utf8' });
    for (const name of ['package.json', 'models', 'build', 'node_modules']) {
      symlinkSync(join(root, name), join(installed, name));
    }
    for (const name of ['sharp', '@types']) symlinkSync(join(root, 'node_modules', name), join(modules, name));
    const bin = join(folder, 'bin');
    const main = join(installed, 'dist/cli/main.js');
    command(bin, 'sana-native', `exec "${process.execPath}" "${main}" "$@"`);
    command(bin, 'npx', 'exec "$@"');
    const path = [bin, join(root, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH].join(delimiter);
    this.#env = { ...process.env, PATH: path, XDG_CACHE_HOME: join(folder, 'cache'), NODE_OPTIONS: '' };
  }

  /** Runs an example, or checks what can be checked of one that does not run here. Throws with what it said. */
  run({ language, code, file, notRun }: Example): void {
    const check = CHECKS[language];
    if (check === undefined) throw new Error(`there is no way to check \`\`\`${language}`);
    const module = /^(import|export) /m.test(code);
    const extension = { ts: '.mts', js: module ? '.mjs' : '.cjs' }[language] ?? `.${language}`;
    const path = join(this.#folder, file ?? `example-${this.#examples++}${extension}`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, code);
    this.#spawn(notRun === undefined ? (RUNS[language]?.(path) ?? check(path)) : check(path), this.#folder, code);
  }

  /** Runs a program file of the project from a folder, and gives what it printed. Throws with what it said. */
  runFile(path: string, folder: string): string {
    const run = RUNS[path.replace(/^.*\.[cm]?/, '')];
    if (run === undefined) throw new Error(`there is no way to run ${path}`);
    return this.#spawn(run(path), folder, path);
  }

  #spawn([program = '', ...args]: readonly string[], cwd: string, what: string): string {
    const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, env: this.#env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${what}\n${stdout}${stderr}${error?.message ?? ''}`);
    return stdout;
  }

  /** Checks the types of examples, as a strict project's own code. */
  checkTypes(examples: readonly string[]): void {
    const files = examples.map((code, i) => {
      const file = join(this.#folder, `typed-${i}.mts`);
      writeFileSync(file, code);
      return file;
    });
    const types = ['--strict', '--module', 'node20', '--target', 'es2022', '--lib', 'es2022,esnext.disposable'];
    const { status, stdout } = spawnSync(tsc, ['--noEmit', '--skipLibCheck', '--types', 'node', ...types, ...files], {
      cwd: this.#folder,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stdout);
  }
}

type Command = (path: string) => string[];

const RUNS: Readonly<Record<string, Command>> = {
  ts: (path) => [process.execPath, '--import', tsx, path],
  js: (path) => [process.execPath, path],
  sh: (path) => ['bash', '-euo', 'pipefail', path],
};

const INSTRUCTION = '(FROM|WORKDIR|COPY|RUN|ENV|VOLUME|USER|ENTRYPOINT|CMD) .+';
const CHECKS: Readonly<Record<string, Command>> = {
  ts: (path) => [process.execPath, '--import', tsx, '--check', path], // and its types, with all others
  js: (path) => [process.execPath, '--check', path],
  sh: (path) => ['bash', '-n', path],
  json: (path) => [process.execPath, '-e', 'JSON.parse(require("fs").readFileSync(process.argv[1]))', path],
  dockerfile: (path) => ['bash', '-c', '! grep -vE "$1" "$2"', 'bash', `^${INSTRUCTION}$`, path],
};

function command(folder: string, name: string, line: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), `#!/bin/sh\n${line}\n`);
  chmodSync(join(folder, name), 0o755);
}
