/**
 * Which CUDA libraries are opened: the newest CUDA version first, since an old driver refuses it. SANA_NATIVE_CUDA
 * chooses: `off`, a major version, or the path of a library.
 */

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { environmentVariable } from '../../base/environment.ts';
import { prebuiltFolder } from './candidates.ts';
import { findDriver } from './driver.ts';
import { probe, USABLE } from './probe.ts';

/** A library with a backend of its own, such as CUDA 13's. */
export interface NativeLibrary {
  readonly file: string;
  readonly problem: string; // empty: it is used
  readonly toolkit: number; // the CUDA version it was built with, 1000 * major + 10 * minor; 0: it was not opened
}

const MAJOR_VERSIONS = ['13', '12'];

/** The libraries that may be opened have no problem yet. */
export function cudaLibraries(addonFile: string): NativeLibrary[] {
  const choice = environmentVariable('SANA_NATIVE_CUDA') ?? '';
  const driver = findDriver();
  let usable = false;
  // Without a driver there is nothing that could crash, but in a library of one's own; behind one that works none is
  // opened.
  const checked = (file: string, own: boolean): NativeLibrary => {
    const verdict = !usable && existsSync(file) && (own || driver !== undefined) ? probe(addonFile, file, driver) : '';
    usable ||= verdict === USABLE;
    return { file, problem: verdict === USABLE ? '' : verdict, toolkit: 0 };
  };
  if (choice.includes('/')) return [checked(choice, true)];
  return MAJOR_VERSIONS.map((major) => {
    const file = libraryFile(dirname(addonFile), major);
    if (choice !== '' && choice !== major)
      return { file, problem: `SANA_NATIVE_CUDA=${choice} excludes it`, toolkit: 0 };
    return checked(file, false);
  });
}

/** Beside the addon, else among the prebuilt: an addon that was built here may have been built without them. */
function libraryFile(folder: string, major: string): string {
  const name = `libsana_cuda${major}.so`;
  const [beside = name, prebuilt = name] = [folder, prebuiltFolder].map((place) => join(place, name));
  return !existsSync(beside) && existsSync(prebuilt) ? prebuilt : beside;
}
