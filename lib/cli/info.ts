/** `sana-native info`: the package, the machine, and the devices that can be used. */

import { arch, cpus, platform, release, totalmem } from 'node:os';
import { Command } from 'commander';
import { type DeviceInfo, listDevices, listLibraries, SanaError } from '../index.ts';
import { version } from '../package.ts';
import { EXIT } from './exit-codes.ts';
import { printJson, printLines } from './output.ts';

export function infoCommand(): Command {
  return new Command('info')
    .description('print the package, the machine, and the devices that can be used')
    .option('--json', 'print one JSON object on standard output')
    .action(info);
}

async function info({ json }: { json?: boolean }): Promise<void> {
  const { devices, error } = findDevices();
  const facts = {
    version,
    node: process.version,
    platform: `${platform()}-${arch()}`,
    system: release(),
    libc: libc(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    devices,
    libraries: error === undefined ? listLibraries() : [],
    ...(error !== undefined && { error }),
  };
  if (json === true) await printJson(facts);
  else {
    await printLines([
      `sana-native  ${version}`,
      `node         ${facts.node}, ${facts.platform}, ${facts.libc}`,
      `system       ${facts.system}`,
      `cpu          ${facts.cpu}, ${facts.cores} cores, ${gigabytes(facts.memoryBytes)}`,
      ...devices.map(({ id, name, path, units, freeBytes, totalBytes, problem }) => {
        const memory = `${gigabytes(freeBytes)} of ${gigabytes(totalBytes)} free`;
        const usable = problem === undefined ? memory : `cannot be used: ${problem}`;
        return `${id.padEnd(12)} ${name}, ${path}, ${units} ${id === 'cpu' ? 'threads' : 'units'}, ${usable}`;
      }),
      ...facts.libraries.map(({ file, problem }) => `${'cuda library'.padEnd(12)} ${file}: ${problem ?? 'in use'}`),
      ...(error === undefined ? [] : ['no device', `  ${error.message}`, `  ${error.hint}`]),
    ]);
  }
  if (devices.length === 0) process.exitCode = EXIT.device;
}

/** The devices, or why there is none: the addon cannot be loaded. */
function findDevices(): { devices: DeviceInfo[]; error?: { code: string; message: string; hint: string } } {
  try {
    return { devices: listDevices() };
  } catch (error) {
    if (error instanceof SanaError) {
      return { devices: [], error: { code: error.code, message: error.message, hint: error.hint } };
    }
    const message = error instanceof Error ? error.message : String(error);
    return { devices: [], error: { code: 'ERR_SANA_ADDON', message, hint: 'Install the package again.' } };
  }
}

function libc(): string {
  if (platform() !== 'linux') return 'system libc';
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  const glibc = report.header?.glibcVersionRuntime;
  return glibc === undefined ? 'musl' : `glibc ${glibc}`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
