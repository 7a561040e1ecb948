/**
 * Which CUDA libraries are opened: the newest CUDA version first, then older ones for drivers that do not support it.
 * SANA_NATIVE_CUDA chooses: `off`, a major version, or the path of a library.
 */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { environmentVariable } from '../../base/environment.ts';
import { prebuiltFolder } from './candidates.ts';
import { findDriver } from './driver.ts';
import { probe, USABLE } from './probe.ts';

/** A library that contains a backend, such as the one for CUDA 13. */
export interface NativeLibrary {
  readonly file: string;
  readonly problem: string; // empty: the library is in use
  readonly toolkit: number; // the CUDA version it was built with, 1000 * major + 10 * minor; 0: it was not opened
}

const MAJOR_VERSIONS = ['13', '12'];

/** The libraries to open, in order. Those that have a `problem` must not be opened. */
export function cudaLibraries(addonFile: string): NativeLibrary[] {
  const choice = environmentVariable('SANA_NATIVE_CUDA') ?? '';
  const driver = findDriver();
  let usable = false;
  // Without a driver, only a library that the user named can crash. After one that works, no other is opened.
  const checked = (file: string, own: boolean): NativeLibrary => {
    const verdict = !usable && existsSync(file) && (own || driver !== undefined) ? probe(addonFile, file, driver) : '';
    usable ||= verdict === USABLE;
    return { file, problem: verdict === USABLE ? '' : verdict, toolkit: 0 };
  };
  if (choice.includes('/')) return [checked(choice, true)];
  return MAJOR_VERSIONS.map((major) => {
    const file = libraryFile(dirname(addonFile), major);
    if (choice !== '' && choice !== major)
      return { file, problem: `SANA_NATIVE_CUDA=${choice} excludes this library`, toolkit: 0 };
    return checked(file, false);
  });
}

/** Beside the addon, otherwise among the prebuilt ones: the user may have built the addon without CUDA. */
function libraryFile(folder: string, major: string): string {
  const name = `libsana_cuda${major}.so`;
  const [beside = name, prebuilt = name] = [folder, prebuiltFolder].map((place) => join(place, name));
  return !existsSync(beside) && existsSync(prebuilt) ? prebuilt : beside;
}
