/** What a binary requires of the system, and whether that is what the package promises. Needs binutils. */

import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { basename } from 'node:path';

export interface Binary {
  readonly file: string;
  readonly bytes: number;
  /** Libraries that it needs. */
  readonly needed: readonly string[];
  /** The newest version that it needs of each set of symbols: `GLIBC` 2.34. */
  readonly versions: ReadonlyMap<string, string>;
  /** Symbols that it exports. */
  readonly exported: readonly string[];
}

/** RHEL 9, Ubuntu 22.04, Debian 12 and later have these. */
export const FLOOR: ReadonlyMap<string, string> = new Map([
  ['GLIBC', '2.34'],
  ['GLIBCXX', '3.4.29'],
  ['CXXABI', '1.3.13'],
  ['GCC', '12.0.0'],
]);

const SYSTEM = /^(lib(c|m|dl|pthread|rt|stdc\+\+|gcc_s)\.so\.\d+|ld-linux[-\w]*\.so\.\d+)$/;
const ENTRY = { node: /^(napi|node_api)_/, so: /^sana_backend$/ };
/** The maximum sizes in a release, in bytes. */
const BUDGET = { node: 3e6, so: 30e6 };

export function inspectBinary(file: string): Binary {
  const readelf = (...options: string[]) => execFileSync('readelf', ['-W', ...options, file], { encoding: 'utf8' });
  const needed = [...readelf('-d').matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1] ?? '');
  const versions = new Map<string, string>();
  for (const [, set = '', version = ''] of readelf('-V').matchAll(/Name: ([A-Z]+)_(\d+(?:\.\d+)*)\b/g)) {
    if (isNewer(version, versions.get(set) ?? '0')) versions.set(set, version);
  }
  // Number, value, size, type, binding, visibility, section, name; instances of templates are weak.
  const symbols = readelf('--dyn-syms')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const exported = symbols.filter(([, , , , binding, , section]) => binding === 'GLOBAL' && section !== 'UND');
  return { file, bytes: statSync(file).size, needed, versions, exported: exported.map((symbol) => symbol[7] ?? '') };
}

/** The problems of a release's binary. */
export function problemsOf({ file, bytes, needed, versions, exported }: Binary): string[] {
  const kind = file.endsWith('.node') ? 'node' : 'so';
  const foreign = needed.filter((name) => !SYSTEM.test(name));
  const strange = exported.filter((name) => !ENTRY[kind].test(name));
  return [
    ...(foreign.length > 0 ? [`needs ${foreign.join(', ')}`] : []),
    ...[...versions].flatMap(([set, version]) => {
      const floor = FLOOR.get(set);
      const promised = floor === undefined ? 'no release of it is promised' : `above ${floor}`;
      return floor === undefined || isNewer(version, floor) ? [`needs ${set}_${version}, ${promised}`] : [];
    }),
    ...(exported.length === 0 ? ['exports nothing'] : []),
    ...(strange.length > 0 ? [`exports ${strange.slice(0, 5).join(', ')}`] : []),
    ...(bytes > BUDGET[kind] ? [`has ${(bytes / 1e6).toFixed(2)} MB, above ${BUDGET[kind] / 1e6}`] : []),
  ].map((problem) => `${basename(file)} ${problem}`);
}

/** A line to read. */
export function describeBinary({ file, bytes, needed, versions }: Binary): string {
  const newest = [...versions].map(([set, version]) => `${set}_${version}`).join(' ');
  return `${basename(file)}: ${(bytes / 1e6).toFixed(2)} MB, needs ${needed.join(' ')}, ${newest}`;
}

/** 2.34 is newer than 2.4. */
function isNewer(version: string, than: string): boolean {
  const [a, b] = [version, than].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(a?.length ?? 0, b?.length ?? 0); i++) {
    const difference = (a?.[i] ?? 0) - (b?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}
