/** The processor features that decide between code paths. */

import { readFileSync } from 'node:fs';

/** Under their names in Linux's /proc/cpuinfo. */
const NAMED = [
  'sse4_2',
  'avx',
  'avx2',
  'fma',
  'f16c',
  'bmi2',
  'avx512f',
  'avx512bw',
  'avx512vl',
  'avx512_vnni',
  'avx512_bf16',
  'amx_bf16',
  'asimd',
  'bf16',
  'i8mm',
  'sve',
];

/** Empty if the system does not list them. */
export function processorFeatures(): string[] {
  try {
    const line = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
    const flags = new Set(line.trim().split(/\s+/));
    return NAMED.filter((name) => flags.has(name));
  } catch {
    return [];
  }
}
