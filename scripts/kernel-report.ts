/**
 * Reports what can be determined about the CUDA kernels without a GPU: `npm run kernels:report`
 *
 * Compiles every kernel for every architecture and prints registers, shared memory, spills and occupancy; runs the
 * operators' tests on the emulation to find how each kernel is launched and which are never launched; and predicts the
 * time of the models' operators from the roofline of four cards. Exits with status 1 if a kernel spills or keeps an
 * array in local memory.
 *
 *   --architectures 80,90a   only these instead of all of them
 *   --cuobjdump FILE         also counts tensor-core, ldmatrix and asynchronous copy instructions in the machine code
 *   --markdown FILE          also writes the report there
 */

import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { groupBy } from './kernel-report/group-by.ts';
import { type Launch, launchesOf } from './kernel-report/launches.ts';
import { type Architecture, architectures, occupancy } from './kernel-report/occupancy.ts';
import { predictions } from './kernel-report/predictions.ts';
import { demangle, type KernelUsage, parseResourceUsage } from './kernel-report/resources.ts';

const run = promisify(execFile);
const options = new Command('kernels:report')
  .option('--architectures <list>', 'such as 80,90a', Object.keys(architectures).join(','))
  .option('--nvcc <file>', 'the compiler', process.env.CUDACXX ?? '/usr/local/cuda/bin/nvcc')
  .option('--cuobjdump <file>', 'the disassembler')
  .option('--markdown <file>', 'where to write the report')
  .parse()
  .opts<{ architectures: string; nvcc: string; cuobjdump?: string; markdown?: string }>();

if (!existsSync(options.nvcc)) {
  console.log(`skipped: there is no nvcc at ${options.nvcc} (pass one with --nvcc)`);
  process.exit(0);
}
const wanted = options.architectures.split(',');
for (const name of wanted) {
  if (!(name in architectures)) throw new Error(`--architectures: ${name} is not one of ${Object.keys(architectures)}`);
}
const sources = ['cuda', 'cuda/kernels'].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.cu'))
    .map((name) => join(folder, name)),
);

const folder = mkdtempSync(join(tmpdir(), 'sana-native-'));
const usages: KernelUsage[] = [];
const machineCode = new Map<string, string>(); // by source, of the first architecture
try {
  for (const source of sources) {
    const started = Date.now();
    // One compilation per architecture, two at a time.
    const pending = [...wanted];
    const worker = async (): Promise<void> => {
      for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
        const object = join(folder, `${basename(source)}.${name}.cubin`);
        const flags = ['-std=c++20', '-O3', '-I.', '-cubin', `-arch=sm_${name}`, '-Xptxas=-v', '-o', object, source];
        const { stderr } = await run(options.nvcc, flags, { maxBuffer: 1 << 28 });
        usages.push(...parseResourceUsage(stderr, source, name));
        if (options.cuobjdump !== undefined && name === wanted[0]) {
          machineCode.set(
            source,
            execFileSync(options.cuobjdump, ['-sass', object], { encoding: 'utf8', maxBuffer: 1 << 29 }),
          );
        }
      }
    };
    await Promise.all([worker(), worker()]);
    console.error(`${source}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
const names = demangle([...new Set(usages.map(({ symbol }) => symbol))]);
const launches = launchesOf('build-simt/libsana_simt.so');

// ---- the report -----------------------------------------------------------------------------------------------------

const lines: string[] = [];
const print = (line = ''): void => {
  lines.push(line);
};

print(`| kernel | threads | shared KB | ${wanted.map((name) => `sm_${name}`).join(' | ')} |`);
print(`|---|---|---|${wanted.map(() => '---').join('|')}|`);
const byKernel = groupBy(usages, ({ symbol }) => names.get(symbol) ?? symbol);
let spilling = 0;
const neverLaunched: string[] = [];
for (const [kernel, of] of [...byKernel].sort(([a], [b]) => a.localeCompare(b))) {
  const launch = launches?.get(kernel);
  if (launches !== undefined && launch === undefined) neverLaunched.push(kernel);
  const threads = launch?.threads ?? '?';
  const shared = (of[0]?.sharedBytes ?? 0) + (launch?.sharedBytes ?? 0);
  const cells = wanted.map((name) =>
    cell(
      of.find(({ architecture }) => architecture === name),
      launch,
      architectures[name],
    ),
  );
  spilling += of.filter(({ spillBytes, stackBytes }) => spillBytes + stackBytes > 0).length;
  print(`| \`${kernel}\` | ${threads} | ${(shared / 1024).toFixed(1)} | ${cells.join(' | ')} |`);
}
print();
print(
  'A cell: registers, and how many of the maximum warps fit on a multiprocessor; `spill` if registers or local arrays are in memory.',
);

function cell(usage: KernelUsage | undefined, launch: Launch | undefined, machine: Architecture | undefined): string {
  if (usage === undefined || machine === undefined) return '';
  const { registers, sharedBytes, spillBytes, stackBytes } = usage;
  const warps =
    launch === undefined ? '?' : occupancy(machine, registers, launch.threads, sharedBytes + launch.sharedBytes);
  const spill = spillBytes + stackBytes > 0 ? `, spill ${spillBytes + stackBytes} B` : '';
  return `${registers}, ${warps}/${machine.warps}${spill}`;
}

if (machineCode.size > 0) {
  print();
  print(`Machine code for sm_${wanted[0]}: instructions of each kind.`);
  print();
  print(
    '| source | tensor core (HMMA, IMMA) | ldmatrix (LDSM) | 16-byte asynchronous copies (LDGSTS.E.BYPASS.128) | local memory (LDL, STL) |',
  );
  print('|---|---|---|---|---|');
  for (const [source, code] of machineCode) {
    const count = (pattern: RegExp): number => code.match(pattern)?.length ?? 0;
    print(
      `| ${source} | ${count(/\b[HI]MMA\./g)} | ${count(/\bLDSM\./g)} | ${count(/\bLDGSTS\S*128/g)} | ${count(/\b(LDL|STL)\b/g)} |`,
    );
  }
}

print();
if (launches === undefined) print('Launches are not known: the emulation is not built (`npm run test:simt`).');
else if (neverLaunched.length === 0) print('The tests on the emulation launch every kernel.');
else print(`The tests on the emulation never launch:\n${neverLaunched.map((kernel) => `- \`${kernel}\``).join('\n')}`);

print();
for (const line of predictions(readFileSync('test/kernels/models.txt', 'utf8'))) print(line);

const report = lines.join('\n');
console.log(report);
if (options.markdown !== undefined) writeFileSync(options.markdown, `${report}\n`);
if (spilling > 0) {
  console.error(`${spilling} kernels spill or keep arrays in local memory`);
  process.exit(1);
}
