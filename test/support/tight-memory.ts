/**
 * A process of its own whose address space is limited once a pipeline is loaded: it draws a picture, fails to draw one
 * that does not fit, and draws the first one again. Prints what came of it as JSON.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { loadTiny, pictures, small, watchDevice } from './pipelines.ts';

const virtualBytes = () => 1024 * Number(/VmSize:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
const device = watchDevice();
const pipe = await loadTiny();
const before = pictures(await pipe.generate(small));
const held = device.bytes;
execFileSync('prlimit', ['--pid', String(process.pid), `--as=${virtualBytes() + 100_000_000}`]);

const outcome = await pipe.generate({ ...small, width: 2048, height: 2048 }).then(
  () => 'drawn',
  (error: NodeJS.ErrnoException & { hint?: string }) => ({
    code: error.code,
    message: error.message,
    hint: error.hint,
  }),
);
const after = pictures(await pipe.generate(small));
console.log(JSON.stringify({ outcome, same: before[0] === after[0], growth: device.bytes - held }));
await pipe.dispose();
device.close();
