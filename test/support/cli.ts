/**
 * Runs the command line as users do, in a separate process. `npm test` has just built dist/ and sets SANA_TEST_DIST, so
 * that it starts three times as fast; otherwise lib/ runs as it is.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface CliResult {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The exit code (null: killed) and everything printed. `stdin` is what it reads, `meet` gets the running process. */
export async function sanaNative(
  args: readonly string[],
  stdin = '',
  meet?: (child: ChildProcess) => void,
): Promise<CliResult> {
  const program = process.env.SANA_TEST_DIST ? ['dist/cli/main.js'] : ['--import', 'tsx', 'lib/cli/main.ts'];
  const child = spawn(process.execPath, [...program, ...args], { cwd: root });
  meet?.(child);
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {}); // it may end without reading
  child.stdin.end(stdin);
  const code = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done));
  return { code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}
