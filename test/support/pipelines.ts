/** Pipelines of the tiny checkpoint, requests that they run in milliseconds, and the memory that they use. */

import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SanaError } from '../../lib/base/errors.ts';
import { openDevice } from '../../lib/device/devices.ts';
import { addon } from '../../lib/device/native.ts';
import type { GenerateResult, LoadOptions } from '../../lib/index.ts';
import { SanaPipeline } from '../../lib/pipeline/pipeline.ts';
import { testDevice } from './device.ts';
import { fixture } from './files.ts';

export const tinyModel = fixture('sana-base');

export async function loadTiny(options: LoadOptions = {}): Promise<SanaPipeline> {
  return await SanaPipeline.fromPretrained(tinyModel, { device: testDevice, dtype: 'float32', ...options });
}

/** A request to the tiny checkpoint that takes a few hundredths of a second. */
export const small = {
  prompt: 'a red fox in snow',
  seed: 7,
  width: 96,
  height: 64,
  useResolutionBinning: false,
  numInferenceSteps: 2,
} as const;

/** A hash of the pixels of each picture: equal only when every byte is. */
export function pictures({ images }: Pick<GenerateResult, 'images'>): string[] {
  return images.map(({ width, height, data }) =>
    createHash('sha256').update(`${width} x ${height}\n`).update(data).digest('hex'),
  );
}

/** The memory in use on the device that pipelines share, read independently: keeps the device open until `close`. */
export function watchDevice(threads?: number): { readonly bytes: number; close(): void } {
  const lease = openDevice(testDevice, threads);
  return {
    get bytes() {
      return lease.native.memory().bytes;
    },
    close: () => lease.release(),
  };
}

export const cpuPaths = ['portable', 'avx2', 'avx512', 'avx512-bf16'] as const;
export type CpuPath = (typeof cpuPaths)[number];

export function supportsCpuPath(path: CpuPath): boolean {
  try {
    addon().openDevice({ backend: 'cpu', index: 0, threads: 1, path }).dispose();
    return true;
  } catch (error) {
    if (error instanceof SanaError && error.code === 'ERR_SANA_DEVICE') return false;
    throw error;
  }
}

/** Opens what `open` opens on one code path of the CPU, as SANA_NATIVE_CPU_PATH asks for. */
export async function onCpuPath<T>(path: CpuPath, open: () => Promise<T>): Promise<T> {
  const before = process.env.SANA_NATIVE_CPU_PATH;
  process.env.SANA_NATIVE_CPU_PATH = path;
  try {
    return await open();
  } finally {
    if (before === undefined) delete process.env.SANA_NATIVE_CPU_PATH;
    else process.env.SANA_NATIVE_CPU_PATH = before;
  }
}

/** The tiny checkpoint with `folders` of the fixtures laid over it, in a temporary folder; `remove` it. */
export function layOver(...folders: string[]): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'sana-laid-over-'));
  cpSync(tinyModel, path, { recursive: true });
  for (const folder of folders) {
    if (existsSync(fixture(folder, 'transformer'))) rmSync(join(path, 'transformer'), { recursive: true });
    cpSync(fixture(folder), path, { recursive: true });
  }
  return { path, remove: () => rmSync(path, { recursive: true }) };
}
