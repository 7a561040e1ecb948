/** `sana-native info`: the package, the machine, its devices, and which models fit. */

import { arch, cpus, platform, release, totalmem } from 'node:os';
import { Command } from 'commander';
import { ownSettings } from '../../base/environment.ts';
import { version } from '../../base/package.ts';
import { findDriver } from '../../device/addon/driver.ts';
import { addonFile } from '../../device/native.ts';
import { processorFeatures } from '../../device/processor.ts';
import { type DeviceInfo, type LibraryInfo, listDevices, listLibraries, SanaError } from '../../index.ts';
import { type Fit, fitsOf } from '../../models/fitting.ts';
import { EXIT } from '../exit-codes.ts';
import { printJson, printLines } from '../output.ts';

export function infoCommand(): Command {
  return new Command('info')
    .description('print the package, the machine, its devices, and which models fit')
    .option('--json', 'print one JSON object on standard output')
    .action(info);
}

interface Found {
  readonly addon: string | null;
  readonly devices: readonly (DeviceInfo & { readonly fits: readonly Fit[] })[];
  readonly libraries: readonly LibraryInfo[];
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

async function info({ json }: { json?: boolean }): Promise<void> {
  const { addon, devices, libraries, error } = find();
  const driver = findDriver();
  const facts = {
    version,
    node: process.version,
    platform: `${platform()}-${arch()}`,
    system: release(),
    libc: libc(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpuFeatures: processorFeatures(),
    cores: cpus().length,
    memoryBytes: totalmem(),
    addon,
    driver: driver === undefined ? null : { version: driver.version ?? 'unknown', cards: driver.cards },
    libraries,
    devices,
    used: devices.find(({ problem }) => problem === undefined)?.id ?? null,
    settings: ownSettings(),
    ...(error !== undefined && { error }),
  };
  if (json === true) await printJson(facts);
  else {
    const line = (name: string, text: string) => `${name.padEnd(13)}${text}`;
    await printLines([
      line('sana-native', version),
      line('node', `${facts.node}, ${facts.platform}, ${facts.libc}`),
      line('system', facts.system),
      line('cpu', `${facts.cpu}, ${facts.cores} cores, ${gigabytes(facts.memoryBytes)}`),
      line('', facts.cpuFeatures.join(' ')),
      line('addon', addon ?? 'none'),
      line(
        'driver',
        driver === undefined ? 'no NVIDIA driver' : `NVIDIA ${facts.driver?.version}, ${driver.cards.join(', ')}`,
      ),
      ...libraries.map(({ file, cuda, problem }) =>
        line('cuda library', `${file}${cuda === undefined ? '' : ` (CUDA ${cuda})`}: ${problem ?? 'in use'}`),
      ),
      ...Object.entries(facts.settings).map(([name, value]) => line('setting', `${name}=${value}`)),
      ...devices.map(deviceLine).map((text, i) => line(devices[i]?.id ?? '', text)),
      ...(facts.used === null ? [] : [line("'auto'", `uses ${facts.used}`)]),
      ...devices.filter(({ problem }) => problem === undefined).flatMap(fitLines),
      ...(error === undefined ? [] : ['no device', `  ${error.message}`, `  ${error.hint}`]),
    ]);
  }
  if (devices.length === 0) process.exitCode = EXIT.device;
}

function deviceLine({ id, name, path, units, dtype, freeBytes, totalBytes, problem }: DeviceInfo): string {
  const memory = `${gigabytes(freeBytes)} of ${gigabytes(totalBytes)} free, dtype 'auto' is ${dtype}`;
  return `${name}, ${path}, ${units} ${id === 'cpu' ? 'threads' : 'multiprocessors'}, ${problem === undefined ? memory : `cannot be used: ${problem}`}`;
}

/** What fits into the memory that is free now. */
function fitLines({ id, dtype, fits }: Found['devices'][number]): string[] {
  const how = ({ offload, gigabytes: needed }: Fit['int8']) =>
    offload === null
      ? `does not fit: it needs ${needed.toFixed(1)} GB with offload 'sequential'`
      : `fits${offload === 'none' ? '' : " with offload 'sequential'"}: ${needed.toFixed(1)} GB`;
  return [
    '',
    `One picture on ${id} in ${dtype}, with the memory that is free now:`,
    ...fits.map(
      (fit) =>
        `  ${fit.repositories[0]?.padEnd(34)} ${`${fit.size} x ${fit.size}`.padEnd(12)} ${how(fit)}` +
        (fit.offload === 'none' ? '' : `; in int8 it ${how(fit.int8)}`),
    ),
  ];
}

/** The devices, or the reason why there are none. */
function find(): Found {
  try {
    const devices = listDevices().map((device) => ({ ...device, fits: fitsOf(device) }));
    return { addon: addonFile(), devices, libraries: listLibraries() };
  } catch (error) {
    const none = { addon: null, devices: [], libraries: [] };
    if (error instanceof SanaError) {
      return { ...none, error: { code: error.code, message: error.message, hint: error.hint } };
    }
    const message = error instanceof Error ? error.message : String(error);
    return { ...none, error: { code: 'ERR_SANA_ADDON', message, hint: 'Install the package again.' } };
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
