/**
 * The results of probes, kept across processes in a small JSON file, `probes.json`, in `$XDG_CACHE_HOME/sana-native`
 * (`~/.cache/sana-native`). It only saves time: if it cannot be read or written, libraries are probed again.
 */

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../../base/cache-folder.ts';
import { isJsonObject, type JsonValue } from '../../base/json.ts';

const KEPT = 32;
const VERDICT_LENGTH = 2000;

const file = () => join(cacheFolder(), 'probes.json');

/** The verdict of probe.ts; undefined if there is none. */
export function findVerdict(key: string): string | undefined {
  return all().get(key);
}

export function keepVerdict(key: string, verdict: string): void {
  const verdicts = all();
  verdicts.delete(key);
  verdicts.set(key, verdict.slice(0, VERDICT_LENGTH));
  const partial = join(cacheFolder(), `.probes.${process.pid}.json`);
  try {
    mkdirSync(cacheFolder(), { recursive: true });
    writeFileSync(partial, `${JSON.stringify(Object.fromEntries([...verdicts].slice(-KEPT)), null, 1)}\n`);
    renameSync(partial, file());
  } catch {
    // The next process probes again.
    if (existsSync(partial)) rmSync(partial);
  }
}

function all(): Map<string, string> {
  try {
    const json: JsonValue = JSON.parse(readFileSync(file(), 'utf8'));
    if (!isJsonObject(json)) return new Map();
    return new Map(Object.entries(json).flatMap(([key, value]) => (typeof value === 'string' ? [[key, value]] : [])));
  } catch {
    return new Map();
  }
}
