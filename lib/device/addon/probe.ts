/**
 * Opens a CUDA library in a child process before this one does: a driver that crashes then takes the child with it, and
 * not an application. What the child found is kept, by driver, cards and the library itself.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { childEnvironment, environmentVariable } from '../../base/environment.ts';
import type { Driver } from './driver.ts';
import { findVerdict, keepVerdict } from './verdicts.ts';

const TIMEOUT_MS = 60_000;

/** A device can be used through the library. */
export const USABLE = 'usable';
/** It does no harm, and no device can be used through it: what it says of that is had by opening it. */
const HARMLESS = '';

const USABLE_STATUS = 42; // no status of Node's own
/** What this process would do: open the library, ask for its devices, use each. */
const PROGRAM = `
  const [file, library] = process.argv.slice(1);
  const addon = require(file);
  addon.openLibraries([library]);
  for (const { backend, index, problem } of addon.listDevices()) {
    if (backend === 'cpu' || problem !== '') continue;
    addon.openDevice({ backend, index, threads: 0 }).dispose();
    process.exitCode = ${USABLE_STATUS};
  }`;

/**
 * USABLE, '' for a library that may be opened, or why it must not be in this process. SANA_NATIVE_PROBE is 'off', to
 * open it without a probe, or 'always', to probe whatever is known, and under Electron.
 */
export function probe(addonFile: string, library: string, driver: Driver | undefined): string {
  const when = environmentVariable('SANA_NATIVE_PROBE');
  // An Electron application may have been built so that it cannot run as Node: it would start once more.
  if (when === 'off' || (process.versions.electron !== undefined && when !== 'always')) return HARMLESS;
  const key = keyOf(addonFile, library, driver);
  const known = key === undefined || when === 'always' ? undefined : findVerdict(key);
  if (known !== undefined) return known;
  const verdict = run(addonFile, library);
  if (key !== undefined && verdict !== undefined) keepVerdict(key, verdict);
  return verdict ?? HARMLESS;
}

/** The verdict, or undefined where the child could not be started. */
function run(addonFile: string, library: string): string | undefined {
  // Electron's executable is Node when it is told so. Nothing of the host's command line may reach the child.
  const env = childEnvironment({ ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '' });
  const options = { env, encoding: 'utf8', timeout: TIMEOUT_MS, killSignal: 'SIGKILL', windowsHide: true } as const;
  const child = spawnSync(process.execPath, ['-e', PROGRAM, '--', addonFile, library], options);
  const { signal, status, error, stderr } = child;
  const remedy = 'update the NVIDIA driver, then set SANA_NATIVE_PROBE=always once';
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT') {
    return `a process that opened it did not end within ${TIMEOUT_MS / 1000} s, the driver hangs: ${remedy}`;
  }
  if (error !== undefined) return undefined;
  // A child that failed in words tells nothing of a crash: this process will get the words.
  if (signal === null) return status === USABLE_STATUS ? USABLE : HARMLESS;
  const said = stderr.trim().split('\n').at(-1) ?? '';
  return `a process that opened it died of ${signal}${said === '' ? '' : ` (${said.slice(0, 300)})`}: ${remedy}`;
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
