/** Where small things are kept from process to process that only save time: `$XDG_CACHE_HOME/sana-native`. */

import { homedir } from 'node:os';
import { join } from 'node:path';

/** `~/.cache/sana-native` where XDG_CACHE_HOME says nothing else. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'sana-native');
}
