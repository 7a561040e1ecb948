/** A fake hub, a cache and a download for the tests of this folder. */

import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SanaError } from '../../lib/base/errors.ts';
import { openSnapshot, type Snapshot, type SnapshotOptions } from '../../lib/hub/snapshot.ts';
import { FakeHub } from '../support/fake-hub.ts';
import { temporaryFolder } from '../support/files.ts';

export const REPOSITORY = 'owner/model';
export const IMPATIENT = { attempts: 3, pauseMs: 1, maxPauseMs: 4 };

/** Bytes that are not all the same, and the same every time. */
export function noise(bytes: number, seed = 1): Buffer {
  const data = Buffer.alloc(bytes);
  for (let i = 0, state = seed; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state >>> 24;
  }
  return data;
}

const VARIABLES = /^(HF_|HUGGING|TRANSFORMERS_OFFLINE|XDG_CACHE_HOME|https?_proxy|no_proxy)/i;

/** A hub and caches: call inside `describe`. No request leaves this machine: every name of a hub's is the fake's. */
export function fakeHub() {
  const folder = temporaryFolder();
  const environment = { ...process.env };
  let hub: FakeHub | undefined;
  before(async () => {
    hub = await FakeHub.start();
  });
  beforeEach(() => {
    for (const name of Object.keys(process.env)) if (VARIABLES.test(name)) delete process.env[name];
    Object.assign(process.env, context.hub.env(join(folder.path, 'home')));
    Object.assign(context.hub, { fault: undefined, storage: undefined });
    context.hub.requests.length = 0;
  });
  after(async () => {
    for (const name of Object.keys(process.env)) if (VARIABLES.test(name)) delete process.env[name];
    Object.assign(process.env, environment);
    await hub?.stop();
  });
  const context = {
    get hub(): FakeHub {
      if (hub === undefined) throw new Error('the hub is started before the tests');
      return hub;
    },
    get folder(): string {
      return folder.path;
    },
    newCache: (): string => mkdtempSync(join(folder.path, 'cache-')),
    /** Downloads all files of the repository. */
    pull: (cacheDir: string, options: Partial<SnapshotOptions> = {}): Promise<Snapshot> =>
      openSnapshot(REPOSITORY, {
        cacheDir,
        patience: IMPATIENT,
        choose: async ({ names }) => [...names],
        look: async (path) => (isEmpty(path) ? new SanaError('ERR_SANA_MODEL', 'nothing', { hint: '-' }) : 'exact'),
        ...options,
      }),
  };
  return context;
}

function isEmpty(path: string): boolean {
  try {
    return readdirSync(path).length === 0;
  } catch {
    return true;
  }
}

/** Every file below a folder, by its path in it, links followed. */
export function contents(folder: string): Record<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory());
  const paths = entries.map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(paths.sort().map((path) => [path.slice(folder.length + 1), readFileSync(path)]));
}
