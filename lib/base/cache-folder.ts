/** Where small things are kept from process to process that only save time: `$XDG_CACHE_HOME/sana-native`. */

import { homedir } from 'node:os';
import { join } from 'node:path';
import { environmentVariable } from './environment.ts';

/** `~/.cache/sana-native` where XDG_CACHE_HOME says nothing else. */
export function cacheFolder(): string {
  return join(environmentVariable('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'sana-native');
}
