/** The resources of kernels as printed by ptxas (`-v`), and their demangled names. */

import { execFileSync } from 'node:child_process';

export interface KernelUsage {
  readonly symbol: string;
  readonly source: string;
  readonly architecture: string;
  readonly registers: number;
  /** Static shared memory. */
  readonly sharedBytes: number;
  readonly spillBytes: number;
  /** Local memory: arrays that are indexed at run time, or spilled registers. */
  readonly stackBytes: number;
}

export function parseResourceUsage(text: string, source: string, architecture: string): KernelUsage[] {
  const usages: KernelUsage[] = [];
  for (const part of text.split(/Compiling entry function /).slice(1)) {
    const number = (pattern: RegExp): number => Number(pattern.exec(part)?.[1] ?? 0);
    const symbol = /^'([^']+)'/.exec(part)?.[1];
    if (symbol === undefined || !/Used \d+ registers/.test(part)) {
      throw new Error(`${source}: unexpected output of ptxas: ${part.slice(0, 200)}`);
    }
    usages.push({
      symbol,
      source,
      architecture,
      registers: number(/Used (\d+) registers/),
      sharedBytes: number(/(\d+) bytes smem/),
      spillBytes: number(/(\d+) bytes spill stores/) + number(/(\d+) bytes spill loads/),
      stackBytes: number(/(\d+) bytes stack frame/),
    });
  }
  return usages;
}

/** `transpose_kernel<float, float>` of each symbol: without namespaces, parameters and return type. */
export function demangle(symbols: readonly string[]): Map<string, string> {
  if (symbols.length === 0) return new Map();
  const lines = execFileSync('c++filt', { input: `${symbols.join('\n')}\n`, encoding: 'utf8', maxBuffer: 1 << 28 });
  return new Map(
    lines
      .trimEnd()
      .split('\n')
      .map((line, i) => [symbols[i] ?? '', shorten(line)]),
  );
}

function shorten(name: string): string {
  const bare = name
    .replace(/\(anonymous namespace\)::|_GLOBAL__N_\w+::|sana::cuda::|sana::/g, '')
    .replace(/^void /, '')
    .replace(/\((bool|int|unsigned int|long|Activation)\)/g, '')
    .replace(/__nv_bfloat16/g, 'bf16')
    .replace(/__half/g, 'f16');
  let depth = 0;
  for (let i = 0; i < bare.length; i++) {
    const c = bare[i];
    if (c === '<') depth++;
    else if (c === '>') depth--;
    else if (c === '(' && depth === 0) return bare.slice(0, i);
  }
  return bare;
}
