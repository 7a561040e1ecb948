/**
 * Opens a CUDA library in a child process before this one does: a driver that crashes then takes the child with it, and
 * not an application. What the child found is kept, by driver, cards and the library itself.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Driver } from './driver.ts';
import { findVerdict, keepVerdict } from './verdicts.ts';

const TIMEOUT_MS = 60_000;

/** What this process would do: open the library, ask for its devices, use each. */
const PROGRAM = `
  const [file, library] = process.argv.slice(1);
  const addon = require(file);
  addon.openLibraries([library]);
  for (const { backend, index, problem } of addon.listDevices()) {
    if (backend !== 'cpu' && problem === '') addon.openDevice({ backend, index, threads: 0 }).dispose();
  }`;

/**
 * Why `library` must not be opened in this process, or undefined. SANA_NATIVE_PROBE is 'off', to open it without a
 * probe, or 'always', to probe whatever is known, and under Electron.
 */
export function probe(addonFile: string, library: string, driver: Driver | undefined): string | undefined {
  const when = process.env.SANA_NATIVE_PROBE ?? '';
  // An Electron application may have been built so that it cannot run as Node: it would start once more.
  if (when === 'off' || (process.versions.electron !== undefined && when !== 'always')) return undefined;
  const key = keyOf(addonFile, library, driver);
  const known = key === undefined || when === 'always' ? undefined : findVerdict(key);
  if (known !== undefined) return known === '' ? undefined : known;
  const problem = run(addonFile, library);
  if (key !== undefined) keepVerdict(key, problem ?? '');
  return problem;
}

function run(addonFile: string, library: string): string | undefined {
  // Electron's executable is Node when it is told so. Nothing of the host's command line may reach the child.
  const env = { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '' };
  const options = { env, encoding: 'utf8', timeout: TIMEOUT_MS, killSignal: 'SIGKILL', windowsHide: true } as const;
  const { signal, error, stderr } = spawnSync(process.execPath, ['-e', PROGRAM, '--', addonFile, library], options);
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT') {
    return `a process that opened it did not end within ${TIMEOUT_MS / 1000} s: the driver hangs`;
  }
  // A child that could not be started, or failed in words, tells nothing of a crash: this process will get the words.
  if (error !== undefined || signal === null) return undefined;
  const said = stderr.trim().split('\n').at(-1) ?? '';
  return (
    `a process that opened it died of ${signal}${said === '' ? '' : ` (${said.slice(0, 300)})`}: ` +
    'update the NVIDIA driver, then set SANA_NATIVE_PROBE=always once'
  );
}

/** Undefined where the files cannot be read. */
function keyOf(addonFile: string, library: string, driver: Driver | undefined): string | undefined {
  try {
    const hash = createHash('sha256').update(`1\n${driver?.identity ?? ''}\n`);
    for (const file of [addonFile, library]) hash.update(readFileSync(file));
    return hash.digest('hex');
  } catch {
    return undefined;
  }
}
