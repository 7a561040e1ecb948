/**
 * Maps the tensors of one code base to those of another: a list of moves, checked against a file.
 *
 * The list is made from the sizes that the file itself shows, so it names every tensor that a model of that size has.
 * Everything that is missing, unknown, of another shape or not a weight is reported in one error: nothing is guessed or
 * left out.
 */

import { describeJson, type JsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import type { SourceTensor } from './source-tensor.ts';

export type ComponentName = 'transformer' | 'controlnet' | 'vae';

/** One tensor of the file, and the tensors that its rows become, in equal parts and in order. */
export interface Move {
  readonly from: string;
  readonly shape: readonly number[];
  readonly to: readonly string[];
  readonly toShape: readonly number[]; // of each
}

/** A component: its configuration, and where its tensors come from. */
export interface Layout {
  readonly component: ComponentName;
  readonly config: JsonObject;
  readonly moves: readonly Move[];
  /** Names that the file may have and the component does not need. */
  readonly dropped: readonly RegExp[];
}

/** The same tensor under another name. */
export function rename(from: string, to: string, shape: readonly number[], toShape = shape): Move {
  return { from, shape, to: [to], toShape };
}

/** A tensor whose rows are several tensors on top of each other: [n x rows, ...]. */
export function split(from: string, to: readonly string[], rows: number, ...columns: readonly number[]): Move {
  return { from, shape: [to.length * rows, ...columns], to, toShape: [rows, ...columns.filter((size) => size !== 1)] };
}

/** A matrix or convolution and its bias. */
export function renameBoth(from: string, to: string, shape: readonly [number, ...number[]]): Move[] {
  return [
    rename(`${from}.weight`, `${to}.weight`, shape),
    rename(`${from}.bias`, `${to}.bias`, [shape[0]]), // one for each row
  ];
}

/** How many names of each kind an error lists. */
const NAMED = 20;

/** Returns the names that are dropped; throws one error that lists everything that does not fit. */
export function checkLayout(layout: Layout, tensors: ReadonlyMap<string, SourceTensor>, path: string): string[] {
  const missing: string[] = [];
  const misshapen: string[] = [];
  const mistyped: string[] = [];
  for (const { from, shape } of layout.moves) {
    const tensor = tensors.get(from);
    if (tensor === undefined) {
      missing.push(from);
      continue;
    }
    const same = tensor.shape.length === shape.length && tensor.shape.every((size, i) => size === shape[i]);
    if (!same) misshapen.push(`${from} is [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`);
    if (tensor.dtype !== 'f32' && tensor.dtype !== 'bf16' && tensor.dtype !== 'f16') {
      mistyped.push(`${from} is ${tensor.storedDType}, expected F32, BF16 or F16`);
    }
  }
  const known = new Set(layout.moves.map(({ from }) => from));
  const rest = [...tensors.keys()].filter((name) => !known.has(name));
  const isDropped = (name: string) => layout.dropped.some((pattern) => pattern.test(name));
  const unknown = rest.filter((name) => !isDropped(name)).map(describeJson);
  const problems = [
    summary('missing', missing),
    summary('not known', unknown),
    summary('of another shape', misshapen),
    summary('of another dtype', mistyped),
  ].filter((problem) => problem !== '');
  if (problems.length === 0) return rest; // none is unknown
  throw modelError(
    path,
    `its tensors are not those of a SANA ${layout.component} of the official repository: ${problems.join('; ')}`,
    'Pass a checkpoint of a text-to-image SANA or its DC-AE; other models, quantized weights and adapters are unsupported.',
  );
}

function summary(what: string, names: readonly string[]): string {
  if (names.length === 0) return '';
  const more = names.length > NAMED ? `, and ${names.length - NAMED} more` : '';
  return `${names.length} ${what}: ${names.slice(0, NAMED).join(', ')}${more}`;
}

/** Sizes for a layout, from the shapes in a file. */
export class Shapes {
  readonly #tensors: ReadonlyMap<string, SourceTensor>;
  readonly #path: string;

  constructor(tensors: ReadonlyMap<string, SourceTensor>, path: string) {
    this.#tensors = tensors;
    this.#path = path;
  }

  has(name: string): boolean {
    return this.#tensors.has(name);
  }

  /** The shape of a tensor that must exist and have `rank` dimensions. */
  of(name: string, rank: number): readonly number[] {
    const tensor = this.#tensors.get(name);
    if (tensor?.shape.length === rank && tensor.elements > 0) return tensor.shape;
    const names = [...this.#tensors.keys()].slice(0, 3).map(describeJson).join(', ');
    const found =
      tensor === undefined
        ? `there is no tensor ${name} among its ${this.#tensors.size} (${names} ...)`
        : `${name} is [${tensor.shape.join(', ')}], expected ${rank} dimensions`;
    throw modelError(
      this.#path,
      `is not a checkpoint of the official SANA repository: ${found}`,
      'Pass the .pth or .safetensors of a SANA transformer, ControlNet or DC-AE autoencoder.',
    );
  }

  size(name: string, rank: number, dimension: number): number {
    return this.of(name, rank)[dimension] as number; // dimension < rank
  }

  /** How many consecutive numbers from 0 on there are in `prefix.N.`, at most `most`. */
  count(prefix: string, most: number): number {
    let count = 0;
    for (const name of this.#tensors.keys()) {
      if (!name.startsWith(`${prefix}.`)) continue;
      const number = /^(\d{1,4})\./.exec(name.slice(prefix.length + 1))?.[1];
      if (number !== undefined && Number(number) < most) count = Math.max(count, Number(number) + 1);
    }
    return count;
  }
}
