/** sharp, loaded when the first picture is read or written: a program that only computes does not wait for it. */

import { createRequire } from 'node:module';
import type sharp from 'sharp';

type SharpModule = typeof sharp;

const require = createRequire(import.meta.url);
let loaded: SharpModule | undefined;

export function loadSharp(): SharpModule {
  loaded ??= require('sharp') as SharpModule;
  return loaded;
}
