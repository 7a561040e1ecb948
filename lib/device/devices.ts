/** Devices: listing them, and opening the requested one. */

import { basename } from 'node:path';
import { publicDtype } from '../base/dtypes.ts';
import { environmentVariable } from '../base/environment.ts';
import { argumentError, SanaError } from '../base/errors.ts';
import { MAX_THREADS } from '../base/threads.ts';
import { addon, type NativeDevice, type NativeDeviceInfo, nativeLibraries } from './native.ts';

/** A device of this machine. */
export interface DeviceInfo {
  /** Its name for the `device` option of `fromPretrained`: `cpu`, `cuda:0`. */
  readonly id: string;
  readonly name: string;
  /** The code path that is used on it: `avx512-bf16`, `avx512`, `avx2`, `portable`, `sm_90`. */
  readonly path: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Threads or multiprocessors. */
  readonly units: number;
  /** The dtype that `dtype: 'auto'` selects. */
  readonly dtype: 'float32' | 'bfloat16';
  /** Why the device cannot be used; absent if it can. */
  readonly problem?: string;
}

/** A library with the kernels of one CUDA version. */
export interface LibraryInfo {
  readonly file: string;
  /** The CUDA version it was built with, `13.0`; absent if it could not be opened. */
  readonly cuda?: string;
  /** Why it is not used: missing, no driver, the driver is too old; absent for the library in use. */
  readonly problem?: string;
}

/** The CUDA libraries in the order they are tried. SANA_NATIVE_CUDA chooses: `off`, `13`, `12`, or a library's path. */
export function listLibraries(): LibraryInfo[] {
  return nativeLibraries().map(({ file, problem, toolkit }) => ({
    file,
    ...(toolkit > 0 && { cuda: `${Math.floor(toolkit / 1000)}.${(toolkit % 1000) / 10}` }),
    ...(problem !== '' && { problem }),
  }));
}

/** The devices of this machine, the CPU last. */
export function listDevices(): DeviceInfo[] {
  return addon()
    .listDevices(requestedPaths())
    .map(publicInfo)
    .sort((a, b) => Number(a.id === 'cpu') - Number(b.id === 'cpu'));
}

function publicInfo(info: NativeDeviceInfo): DeviceInfo {
  const { backend, index, name, path, totalBytes, freeBytes, units, problem } = info;
  const id = backend === 'cpu' ? 'cpu' : `${backend}:${index}`;
  const dtype = publicDtype(info.defaultDtype);
  return { id, name, path, totalBytes, freeBytes, units, dtype, ...(problem !== '' && { problem }) };
}

/** The requested code path of each backend; '' selects its best one. */
export function requestedPaths(): Readonly<Record<string, string>> {
  return {
    cpu: environmentVariable('SANA_NATIVE_CPU_PATH') ?? '',
    cuda: environmentVariable('SANA_NATIVE_CUDA_PATH') ?? '',
  };
}

/** A device in use. Pipelines on the same device share it, and so its threads. */
export class DeviceLease {
  readonly id: string;
  readonly native: NativeDevice;
  /** The memory that the device keeps for its kernels as long as it is open, in addition to all buffers. */
  readonly workspaceBytes: number;
  readonly #key: string;
  #released = false;

  constructor(id: string, key: string, { native, workspaceBytes }: OpenDevice) {
    this.id = id;
    this.#key = key;
    this.native = native;
    this.workspaceBytes = workspaceBytes;
  }

  /** Bytes of the device that are free now. */
  freeBytes(): number {
    return this.native.info.freeBytes;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    const shared = open.get(this.#key);
    if (shared === undefined || --shared.users > 0) return;
    open.delete(this.#key);
    shared.native.dispose();
  }
}

interface OpenDevice {
  readonly native: NativeDevice;
  readonly workspaceBytes: number;
  users: number;
}

const open = new Map<string, OpenDevice>();

/**
 * Opens a device. `auto` selects the first usable GPU, otherwise the CPU.
 * @throws SanaError ERR_SANA_DEVICE that lists the usable devices and, if there is no GPU among them, says why.
 */
export function openDevice(device: string, threads?: number): DeviceLease {
  if (!/^(auto|cpu|cuda(:\d+)?)$/.test(device)) {
    throw argumentError('device', "'auto', 'cpu', 'cuda' or 'cuda:<index>'", device);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw argumentError('threads', `an integer from 1 to ${MAX_THREADS}`, threads);
  }
  const devices = listDevices();
  const wanted = device === 'cuda' ? 'cuda:0' : device;
  const usable = devices.filter(({ problem }) => problem === undefined);
  const found = device === 'auto' ? usable[0] : devices.find(({ id }) => id === wanted);
  if (found === undefined || found.problem !== undefined) {
    const what =
      found === undefined
        ? `There is no device '${wanted}' on this machine`
        : `The device '${wanted}' (${found.name}) cannot be used: ${found.problem}`;
    const others = `Use one of: ${usable.map(({ id, name }) => `${id} (${name})`).join(', ')}.`;
    throw new SanaError('ERR_SANA_DEVICE', what, { hint: [others, ...whyNoGpu()].join(' ') });
  }
  const [backend = 'cpu', index = '0'] = found.id.split(':');
  const path = requestedPaths()[backend] ?? '';
  const key = [found.id, threads ?? 0, path].join(' ');
  let shared = open.get(key);
  if (shared === undefined) {
    const native = addon().openDevice({ backend, index: Number(index), threads: threads ?? 0, path });
    shared = { native, workspaceBytes: native.memory().bytes, users: 0 }; // nothing else is allocated yet
    open.set(key, shared);
  }
  shared.users++;
  return new DeviceLease(found.id, key, shared);
}

/** Why each CUDA library cannot be used, if none can. */
function whyNoGpu(): string[] {
  const libraries = listLibraries();
  if (libraries.some(({ problem }) => problem === undefined)) return [];
  return libraries.map(({ file, problem }) => `${basename(file)}: ${problem}.`);
}
