// The steps of a check: runs them, one or several at a time, and prints at the end where the time went.
//
// If SANA_TEST_STEPS names a file, every step adds a line to it: `.ci/run` makes one table of all commands.
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** How many processes run in parallel. */
export const processors = availableParallelism();

export class Steps {
  #rows = [];
  #start = performance.now();

  /**
   * Runs a program to its end; resolves to whether it succeeded. The output of a `quiet` one is printed when it has
   * ended, so that the outputs of parallel programs are not mixed.
   */
  async run(name, command, args, { env = {}, quiet = false } = {}) {
    console.log(`\n== ${name}${quiet ? ': started' : ''}`);
    const start = performance.now();
    const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit';
    const child = spawn(command, args, { stdio, env: { ...process.env, ...env } });
    const heard = [];
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => heard.push(bytes));
    const problem = await new Promise((resolve) => {
      child.once('error', ({ message }) => resolve(message));
      child.once('close', (status, signal) => resolve(signal ? `ended by ${signal}` : status && `status ${status}`));
    });
    const seconds = (performance.now() - start) / 1000;
    if (quiet) process.stdout.write(`\n== ${name}\n${Buffer.concat(heard)}`);
    const outcome = problem ? `FAILED: ${problem}` : 'passed';
    this.#rows.push([name, outcome, seconds]);
    if (process.env.SANA_TEST_STEPS) {
      appendFileSync(process.env.SANA_TEST_STEPS, `${name}\t${outcome}\t${seconds.toFixed(1)}\n`);
    }
    return !problem;
  }

  /** Runs functions that start steps, in the order given, as many at a time as there are processors. */
  async sideBySide(steps) {
    const waiting = [...steps];
    const worker = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await next();
    };
    await Promise.all(Array.from({ length: processors }, worker));
  }

  /** Prints the table and ends the process, with status 1 if a step failed. */
  end() {
    const width = Math.max(...this.#rows.map(([name]) => name.length));
    const total = ['total', '', (performance.now() - this.#start) / 1000];
    console.log('');
    for (const [name, outcome, seconds] of [...this.#rows, total]) {
      console.log(`${name.padEnd(width)}  ${seconds.toFixed(0).padStart(5)} s  ${outcome}`.trimEnd());
    }
    process.exit(this.#rows.every(([, outcome]) => outcome === 'passed') ? 0 : 1);
  }
}
