/**
 * The addon's functions and their types. No other file names them: everything else goes through lib/device/.
 *
 * All work on a device is queued and done in order by the device's own executor thread; promises settle on the
 * JavaScript thread. Errors have a `code` (`ERR_SANA_*`), and lib/base/errors.ts turns them into `SanaError`: functions
 * that return a promise reject, the others throw.
 */

import { createRequire } from 'node:module';
import type { DType } from '../base/dtypes.ts';
import { nativeError, type SanaErrorCode } from '../base/errors.ts';
import { addonCandidates } from './addon/candidates.ts';
import { cudaLibraries, type NativeLibrary } from './addon/cuda-libraries.ts';
import { type FailedCandidate, loadError, reasonOf } from './addon/load-error.ts';
import type { Layout } from './layouts.ts';

export type { DType } from '../base/dtypes.ts';
export type { Layout } from './layouts.ts';

export interface NativeDeviceInfo {
  readonly backend: string; // 'cpu' | 'cuda'
  readonly index: number;
  readonly name: string;
  readonly path: string; // 'avx512-bf16', 'avx512', 'avx2', 'portable', 'sm_90', ...
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly units: number; // threads or multiprocessors
  readonly problem: string; // empty, or why the device cannot be used
  readonly defaultDtype: 'f32' | 'bf16'; // of activations and weights, unless another is requested
  readonly hostMemory: boolean; // the device computes in the host's memory
  readonly refusals: Readonly<Partial<Record<DType, DTypeRefusal>>>; // dtypes that the device has no kernels for
}

/** Why a device has no kernels for a dtype, and the code of the error if it is requested anyway. */
export interface DTypeRefusal {
  readonly code: SanaErrorCode;
  readonly reason: string;
}

/** An operand of a program: place and type. `buffer` is an index into `ProgramDescription.buffers`; -1: the arena. */
export interface OperandDescription {
  readonly buffer: number;
  readonly offset: number; // bytes
  readonly dtype: DType;
  readonly layout: Layout;
  readonly shape: readonly number[];
  readonly pitch: number; // elements between rows of the last dimension
}

export interface CallDescription {
  readonly op: string;
  readonly operands: Readonly<Record<string, OperandDescription>>; // by name in the operator table; optional ones may be absent
  readonly attributes: Readonly<Record<string, number | string | readonly number[]>>;
  readonly scope?: string; // the part of the model that recorded it, for error messages: 'block 7 > attn1'
}

export interface ProgramDescription {
  readonly calls: readonly CallDescription[];
  readonly buffers: readonly NativeBuffer[];
  readonly arenaBytes: number;
}

/** Device memory, zero-filled when allocated. Used after `dispose()`: ERR_SANA_DISPOSED. */
export interface NativeBuffer {
  readonly bytes: number;
  dispose(): void; // idempotent; the memory is freed once the queued work that uses it is done
}

/** A regular file opened for reading; every read is checked against the size found when it was opened. */
export interface NativeFile {
  readonly path: string;
  readonly bytes: number;
  read(offset: number, bytes: number): Promise<ArrayBuffer>;
  close(): void;
}

/** Rows of a checkpoint tensor in a file. */
export interface PackRequest extends PackTarget {
  readonly file: NativeFile;
  readonly fileOffset: number; // bytes
  readonly fileDtype: DType; // f32, bf16 or f16
}

/** Rows in host memory, copied before `pack` returns. */
export interface PackDataRequest extends PackTarget {
  readonly data: Uint8Array; // exactly the bytes of the rows
  readonly dataDtype: DType; // f32, bf16 or f16
}

interface PackTarget {
  readonly rows: number; // rows of the checkpoint tensor (its first dimension)
  readonly rowElements: number; // elements per row
  readonly buffer: NativeBuffer;
  readonly target: Omit<OperandDescription, 'buffer'>; // the tensor inside `buffer` that receives them
  readonly firstRow: number; // the row of `target` that the first one becomes
}

export interface GatherRequest {
  readonly file: NativeFile;
  readonly fileOffset: number;
  readonly fileDtype: DType;
  readonly fileRows: number;
  readonly rowElements: number;
  readonly rows: readonly number[]; // indices of the file's rows, in the order of the result
  readonly buffer: NativeBuffer;
  readonly target: Omit<OperandDescription, 'buffer'>; // dense [rows.length, rowElements]
}

export interface NativeRun {
  readonly promise: Promise<Float64Array | undefined>; // milliseconds per call when profiled
  cancel(): void; // stops soon: the promise rejects with ERR_SANA_CANCELLED, and the program's outputs are undefined
}

export interface NativeProgram {
  readonly arenaBytes: number;
  dispose(): void;
}

export interface NativeDevice {
  readonly info: NativeDeviceInfo;
  /** Bytes of all buffers on this device and of its kernels' workspaces, now and at their peak. */
  memory(): { bytes: number; peakBytes: number };
  resetPeak(): void;
  allocate(bytes: number): NativeBuffer; // ERR_SANA_MEMORY when there is not enough
  tensorBytes(dtype: DType, layout: Layout, shape: readonly number[]): number;
  write(buffer: NativeBuffer, offset: number, data: Uint8Array): Promise<void>; // data is copied before this returns
  read(buffer: NativeBuffer, offset: number, bytes: number): Promise<ArrayBuffer>;
  /** Reads rows of a checkpoint tensor and packs them; resolves to the number of NaN and infinite elements found. */
  pack(request: PackRequest | PackDataRequest): Promise<number>;
  /** Reads the chosen rows of a checkpoint tensor into a dense tensor. */
  gather(request: GatherRequest): Promise<void>;
  createProgram(description: ProgramDescription): NativeProgram; // ERR_SANA_PROGRAM names the call's scope and what is wrong
  run(program: NativeProgram, arena: NativeBuffer | null, options?: { profile?: boolean }): NativeRun;
  /** The peak rates of the device, measured in a few tenths of a second: no operator can be faster than they allow. */
  ceilings(): Promise<{ f32Flops: number; bf16Flops: number; i8Flops: number; bytesPerSecond: number }>;
  dispose(): void; // cancels without waiting; queued work rejects with ERR_SANA_DISPOSED
}

export interface OperatorTableEntry {
  readonly name: string;
  readonly operands: readonly { name: string; role: string; dtypes: readonly DType[]; layout: string }[];
  readonly attributes: readonly { name: string; kind: string; least?: number; most?: number }[];
  readonly inPlace: readonly string[];
}

export interface Addon {
  /** From now on, the addon creates its errors with this function. */
  makeErrorsWith(makeError: (code: string, message: string) => Error): void;
  readonly operators: readonly OperatorTableEntry[];
  /** Opens libraries in order until one can be used. Runs once per process: later calls return the same result. */
  openLibraries(files: readonly string[]): NativeLibrary[];
  /** `paths`: the code path to describe the devices with, by backend. */
  listDevices(paths?: Readonly<Record<string, string>>): NativeDeviceInfo[];
  openDevice(options: { backend: string; index: number; threads: number; path?: string }): NativeDevice;
  openFile(path: string): NativeFile; // ERR_SANA_FILE: missing, not a regular file, or not readable
}

const require = createRequire(import.meta.url);

let loaded: { readonly addon: Addon; readonly file: string; readonly libraries: readonly NativeLibrary[] } | undefined;

/**
 * Loads the addon once: a binary that the user built, otherwise the prebuilt one. SANA_NATIVE_ADDON names another file.
 * Also opens the CUDA libraries, after a child process has opened them without a crash: see lib/device/addon/.
 *
 * @throws SanaError ERR_SANA_ADDON that lists the files that were tried, why each failed, and what to do.
 */
export function addon(): Addon {
  return load().addon;
}

/** The file that the addon was loaded from. */
export function addonFile(): string {
  return load().file;
}

/** Every CUDA library that was considered, in order. */
export function nativeLibraries(): readonly NativeLibrary[] {
  return load().libraries;
}

function load(): NonNullable<typeof loaded> {
  if (loaded !== undefined) return loaded;
  const failed: FailedCandidate[] = [];
  let cause: unknown;
  for (const file of addonCandidates()) {
    try {
      const native = require(file) as Addon;
      native.makeErrorsWith(nativeError);
      const wanted = cudaLibraries(file);
      const opened = native.openLibraries(
        wanted.filter(({ problem }) => problem === '').map((library) => library.file),
      );
      const libraries = wanted.map((library) => opened.find((other) => other.file === library.file) ?? library);
      loaded = { addon: native, file, libraries };
      return loaded;
    } catch (error) {
      cause ??= error;
      failed.push({ file, reason: reasonOf(error, file) });
    }
  }
  throw loadError(failed, cause);
}
