/**
 * Hashes of pictures on every code path of the CPU: the same seed gives the same bytes, and a change of the code that
 * changes one of these hashes is a decision to be recorded in CHANGELOG.md.
 *
 *     npx tsx scripts/picture-hashes.ts > before.txt               # this checkout, after `npm run build`
 *     npx tsx scripts/picture-hashes.ts --package ../other > after.txt
 *     diff before.txt after.txt
 *
 * One line for each picture: path, dtype, case, SHA-256 of its size and pixels. Hashes are those of one compiler:
 * another one may order sums in the elementary functions differently.
 */

import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type * as SanaNative from '../lib/index.ts';

const { values } = parseArgs({
  options: { package: { type: 'string', default: '.' }, path: { type: 'string', multiple: true } },
});
const root = resolve(values.package);
const { SanaPipeline, SanaError } = (await import(
  pathToFileURL(join(root, 'dist/index.js')).href
)) as typeof SanaNative;
const fixtures = join(import.meta.dirname, '../test/fixtures');

const DTYPES = ['float32', 'bfloat16', 'int8'] as const;
const PATHS = values.path ?? ['avx512-bf16', 'avx512', 'avx2', 'portable'];

/** A picture with every value and some structure, [height, width, 3]. */
function picture(width: number, height: number): SanaNative.RawImage {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 7 + ((i / (3 * width)) | 0) * 13) & 255);
  return { width, height, data };
}

/** White in the right half: [height, width, 3]. */
function mask(width: number, height: number): SanaNative.RawImage {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => ((i / 3) % width >= width / 2 ? 255 : 0));
  return { width, height, data };
}

interface Case {
  readonly name: string;
  /** Folders of the fixtures, each overlaid on the one before. None: the built-in model. */
  readonly model: readonly string[];
  readonly lora?: string;
  readonly load?: SanaNative.LoadOptions;
  readonly request: SanaNative.GenerateRequest;
}

const prompt = 'a red fox in snow';
const cat = 'a smiling cat with heart eyes on a teal background';
const tiny = { prompt, seed: 7, numInferenceSteps: 2, useResolutionBinning: false, width: 96, height: 64 } as const;
const cases: readonly Case[] = [
  { name: 'sana-tiny', model: [], request: { prompt: cat, seed: 1 } },
  { name: 'sana-tiny batch', model: [], request: { prompt: [cat, 'an owl'], seed: 5, numInferenceSteps: 4 } },
  { name: 'sana-tiny pag', model: [], request: { prompt: cat, seed: 2, pagScale: 2, numInferenceSteps: 4 } },
  { name: 'sana-tiny euler', model: [], request: { prompt: cat, seed: 3, scheduler: 'flow-euler' } },
  {
    name: 'sana-tiny image',
    model: [],
    request: { prompt: cat, seed: 4, image: picture(128, 128), numInferenceSteps: 6 },
  },
  {
    name: 'sana-tiny inpainting',
    model: [],
    request: { prompt: cat, seed: 4, image: picture(128, 128), maskImage: mask(128, 128), numInferenceSteps: 4 },
  },
  {
    name: 'sana-tiny bands',
    model: [],
    request: { prompt: cat, seed: 6, width: 32, height: 2080, useResolutionBinning: false, numInferenceSteps: 2 },
  },
  { name: 'base', model: ['sana-base'], request: tiny },
  { name: 'base offload', model: ['sana-base'], load: { offload: 'sequential' }, request: tiny },
  { name: 'base binned', model: ['sana-base'], request: { prompt, seed: 7, numInferenceSteps: 1, width: 500 } },
  { name: 'base blend', model: ['sana-base'], request: { ...tiny, width: 576, height: 32, decodeTiling: 'blend' } },
  { name: 'base bands', model: ['sana-base'], request: { ...tiny, width: 32, height: 1120 } },
  { name: 'bf16 files', model: ['sana-base-bf16'], request: tiny },
  { name: '1.5', model: ['sana-base', 'sana15'], request: tiny },
  { name: 'euler', model: ['sana-base', 'sana-euler'], request: tiny },
  { name: 'sprint', model: ['sana-base', 'sana-sprint'], request: tiny },
  { name: 'lora', model: ['sana-base'], lora: 'sana-lora/all', request: { ...tiny, loraScale: 0.7 } },
  {
    name: 'controlnet',
    model: ['sana-base'],
    load: { controlnet: join(fixtures, 'sana-controlnet') },
    request: { ...tiny, controlImage: picture(96, 64) },
  },
  { name: 'image', model: ['sana-base'], request: { ...tiny, image: picture(50, 70), strength: 0.5 } },
];

/** The folders overlaid on each other, as one checkpoint in a temporary folder. */
function laidOver(folders: readonly string[]): string {
  const path = mkdtempSync(join(tmpdir(), 'sana-hashes-'));
  for (const folder of folders) {
    if (existsSync(join(fixtures, folder, 'transformer')))
      rmSync(join(path, 'transformer'), { recursive: true, force: true });
    cpSync(join(fixtures, folder), path, { recursive: true });
  }
  return path;
}

for (const path of PATHS) {
  process.env.SANA_NATIVE_CPU_PATH = path;
  for (const dtype of DTYPES) {
    for (const { name, model, lora, load, request } of cases) {
      const folder = model.length === 0 ? undefined : laidOver(model);
      try {
        const pipe = await SanaPipeline.fromPretrained(folder, { device: 'cpu', dtype, ...load });
        try {
          if (lora !== undefined) await pipe.loadLora(join(fixtures, lora), { scale: 0.9 });
          const { images } = await pipe.generate(request);
          const hash = createHash('sha256');
          for (const { width, height, data } of images) hash.update(`${width} x ${height}\n`).update(data);
          console.log(`${path} ${dtype} ${name}: ${hash.digest('hex')}`);
        } finally {
          await pipe.dispose();
        }
      } catch (error) {
        if (!(error instanceof SanaError)) throw error;
        console.log(`${path} ${dtype} ${name}: ${error.code} ${error.message}`);
      } finally {
        if (folder !== undefined) rmSync(folder, { recursive: true });
      }
    }
  }
}
