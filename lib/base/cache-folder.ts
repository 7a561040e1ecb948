/** The cache folder, for small data that saves time and is kept across processes: `$XDG_CACHE_HOME/sana-native`. */

import { homedir } from 'node:os';
import { join } from 'node:path';
import { environmentVariable } from './environment.ts';

/** `~/.cache/sana-native` unless XDG_CACHE_HOME is set. */
export function cacheFolder(): string {
  return join(environmentVariable('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'sana-native');
}
