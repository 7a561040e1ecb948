/**
 * Opens a CUDA library in a child process before this process does: if the driver crashes, it takes down the child and
 * not the application. The result is kept, under the driver, the cards and the library itself.
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
/** It is safe to open, but no device can be used through it. Opening it in this process gives the reason. */
const HARMLESS = '';

const USABLE_STATUS = 42; // Node itself never exits with it
/** The same as this process would do: open the library, list its devices, open each. */
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
 * USABLE; '' for a library that is safe to open; or the reason why this process must not open it. With
 * SANA_NATIVE_PROBE=off the library is opened without a probe; with 'always' it is probed even if a result is kept, and
 * under Electron.
 */
export function probe(addonFile: string, library: string, driver: Driver | undefined): string {
  const when = environmentVariable('SANA_NATIVE_PROBE');
  // An Electron application may be built without the ability to run as Node: the child would be a second application.
  if (when === 'off' || (process.versions.electron !== undefined && when !== 'always')) return HARMLESS;
  const key = keyOf(addonFile, library, driver);
  const known = key === undefined || when === 'always' ? undefined : findVerdict(key);
  if (known !== undefined) return known;
  const verdict = run(addonFile, library);
  if (key !== undefined && verdict !== undefined) keepVerdict(key, verdict);
  return verdict ?? HARMLESS;
}

/** The verdict, or undefined if the child could not be started. */
function run(addonFile: string, library: string): string | undefined {
  // ELECTRON_RUN_AS_NODE makes Electron's executable run as Node. No options of the host may reach the child.
  const env = childEnvironment({ ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '' });
  const options = { env, encoding: 'utf8', timeout: TIMEOUT_MS, killSignal: 'SIGKILL', windowsHide: true } as const;
  const child = spawnSync(process.execPath, ['-e', PROGRAM, '--', addonFile, library], options);
  const { signal, status, error, stderr } = child;
  const remedy = 'update the NVIDIA driver, then set SANA_NATIVE_PROBE=always once';
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT') {
    return `a process that opened it did not end within ${TIMEOUT_MS / 1000} s; the driver hangs: ${remedy}`;
  }
  if (error !== undefined) return undefined;
  // A child that failed with an error message did not crash: this process will get the same message.
  if (signal === null) return status === USABLE_STATUS ? USABLE : HARMLESS;
  const said = stderr.trim().split('\n').at(-1) ?? '';
  return `a process that opened it died of ${signal}${said === '' ? '' : ` (${said.slice(0, 300)})`}: ${remedy}`;
}

/** Undefined if the files cannot be read. */
function keyOf(addonFile: string, library: string, driver: Driver | undefined): string | undefined {
  try {
    const hash = createHash('sha256').update(`1\n${driver?.identity ?? ''}\n`);
    for (const file of [addonFile, library]) hash.update(readFileSync(file));
    return hash.digest('hex');
  } catch {
    return undefined;
  }
}
