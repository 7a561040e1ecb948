/**
 * Where the cache is, which hub is used, and with which token: from the options first, then from the environment
 * variables of Python's huggingface_hub (its `constants.py`), so that both find the same files.
 */

import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Environment, environmentVariable, expandVariables, type VariableName } from '../base/environment.ts';
import { SanaError } from '../base/errors.ts';

export interface HubOptions {
  /** Default: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or `~/.cache/huggingface/hub`. */
  readonly cacheDir?: string | undefined;
  /** Do not use the network, as with `HF_HUB_OFFLINE=1`. */
  readonly localFilesOnly?: boolean | undefined;
  /** Default: `HF_TOKEN`, or the file that `hf auth login` writes. */
  readonly token?: string | undefined;
  /** The user agent: 'sana-native/1.0.0'. */
  readonly userAgent?: string | undefined;
}

export interface HubSettings {
  readonly endpoint: URL; // without a slash at the end of its path
  readonly cacheDir: string;
  readonly token: string | undefined;
  readonly offline: boolean;
  readonly symlinks: boolean; // if the file system supports them
  readonly idleMs: number; // how long a connection may be silent
  readonly userAgent: string;
}

const DEFAULT_ENDPOINT = 'https://huggingface.co';
const DEFAULT_IDLE_SECONDS = 30;

export async function hubSettings(options: HubOptions = {}, env?: Environment): Promise<HubSettings> {
  const value = (name: VariableName) => environmentVariable(name, env);
  const home = folderOf(
    value('HF_HOME') ?? join(value('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface'),
    env,
  );
  const cache = value('HF_HUB_CACHE') ?? value('HUGGINGFACE_HUB_CACHE');
  const idleSeconds = Number(value('HF_HUB_DOWNLOAD_TIMEOUT') ?? DEFAULT_IDLE_SECONDS);
  return {
    endpoint: endpointOf(value('HF_ENDPOINT') ?? DEFAULT_ENDPOINT),
    cacheDir: resolve(options.cacheDir ?? (cache ? folderOf(cache, env) : join(home, 'hub'))),
    token: checkToken(options.token) ?? (await tokenOf(home, env)),
    offline:
      options.localFilesOnly === true || isTrue(value('HF_HUB_OFFLINE')) || isTrue(value('TRANSFORMERS_OFFLINE')),
    symlinks: !isTrue(value('HF_HUB_DISABLE_SYMLINKS')),
    idleMs: 1000 * (idleSeconds > 0 && idleSeconds <= 3600 ? idleSeconds : DEFAULT_IDLE_SECONDS),
    userAgent: [options.userAgent, `node/${process.versions.node}`].filter(Boolean).join('; '),
  };
}

function isTrue(value: string | undefined): boolean {
  return ['1', 'ON', 'YES', 'TRUE'].includes(value?.toUpperCase() ?? '');
}

/** With `~` and `$NAME` replaced, as in Python. */
function folderOf(path: string, env?: Environment): string {
  const expanded = path.replace(/^~(?=$|\/)/, homedir());
  return resolve(expandVariables(expanded, env));
}

function endpointOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.search === '' && url.hash === '') {
    url.pathname = url.pathname.replace(/\/+$/, '');
    return url;
  }
  throw new SanaError('ERR_SANA_ARGUMENT', 'HF_ENDPOINT is not an http or https address without user and query', {
    hint: `Set it to the address of a hub, such as ${DEFAULT_ENDPOINT}, or unset it.`,
  });
}

async function tokenOf(home: string, env?: Environment): Promise<string | undefined> {
  const value = (name: VariableName) => environmentVariable(name, env);
  if (isTrue(value('HF_HUB_DISABLE_IMPLICIT_TOKEN'))) return undefined;
  const token = value('HF_TOKEN') ?? value('HUGGING_FACE_HUB_TOKEN');
  if (token) return checkToken(token);
  // A user who may not read the file is not logged in: public files can still be loaded.
  const path = value('HF_TOKEN_PATH');
  const file = path === undefined ? join(home, 'token') : folderOf(path, env);
  return checkToken(await readFile(file, 'utf8').catch(() => undefined));
}

/** A token as it goes into a header. It is secret, and no message shows it. */
function checkToken(token: string | undefined): string | undefined {
  const trimmed = token?.trim();
  if (!trimmed) return undefined;
  if (/^[\x21-\x7e]{1,4096}$/.test(trimmed)) return trimmed;
  throw new SanaError('ERR_SANA_ARGUMENT', 'Expected the token to be printable ASCII without spaces', {
    hint: 'Copy it again from https://huggingface.co/settings/tokens.',
  });
}
