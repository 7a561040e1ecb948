/**
 * Planning: every intermediate gets an offset in one arena. Intermediates that are needed at the same time never
 * overlap, and a greedy placement keeps the arena small. The peak is known before anything runs.
 */

import type { Call } from './call.ts';
import { operatorSpec } from './operators.ts';
import { ArenaValue, align, denseBytes, isContiguous, type Tensor } from './tensor.ts';

export interface Plan {
  readonly name: string;
  readonly calls: readonly Call[];
  readonly arenaBytes: number;
  /** The offset of each intermediate in the arena, in bytes. */
  readonly offsets: ReadonlyMap<ArenaValue, number>;
}

/** The memory of an intermediate and the first and last call that need it. Values that share it, in place, are one. */
interface Lifetime {
  readonly bytes: number;
  first: number;
  last: number;
  readonly values: ArenaValue[];
}

export function plan(name: string, calls: readonly Call[]): Plan {
  const lifetimes = [...new Set(lifetimesOf(calls).values())];
  const placed: { lifetime: Lifetime; offset: number }[] = [];
  // Largest first, each at the lowest offset where it overlaps no other with an overlapping lifetime.
  for (const lifetime of lifetimes.sort((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const neighbours = placed
      .filter(({ lifetime: other }) => other.first <= lifetime.last && lifetime.first <= other.last)
      .sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const { lifetime: other, offset: start } of neighbours) {
      if (offset + lifetime.bytes <= start) break;
      offset = Math.max(offset, align(start + other.bytes));
    }
    placed.push({ lifetime, offset });
  }
  const offsets = new Map(
    placed.flatMap(({ lifetime, offset }) => lifetime.values.map((value) => [value, offset] as const)),
  );
  const arenaBytes = placed.reduce((peak, { lifetime, offset }) => Math.max(peak, align(offset + lifetime.bytes)), 0);
  return { name, calls, arenaBytes, offsets };
}

function lifetimesOf(calls: readonly Call[]): Map<ArenaValue, Lifetime> {
  const lastUse = new Map<ArenaValue, number>();
  calls.forEach((call, index) => {
    for (const tensor of Object.values(call.operands)) {
      if (tensor.place instanceof ArenaValue) lastUse.set(tensor.place, index);
    }
  });
  const lifetimes = new Map<ArenaValue, Lifetime>();
  calls.forEach((call, index) => {
    for (const tensor of Object.values(call.operands)) {
      const value = tensor.place;
      if (!(value instanceof ArenaValue)) continue;
      let lifetime = lifetimes.get(value);
      if (lifetime === undefined) {
        lifetime = tensor === call.operands.out ? overwritten(call, index, lifetimes, lastUse) : undefined;
        lifetime ??= { bytes: value.bytes, first: index, last: index, values: [] };
        lifetime.values.push(value);
        lifetimes.set(value, lifetime);
      }
      lifetime.last = Math.max(lifetime.last, index);
    }
  });
  return lifetimes;
}

/** The memory of an input that `call` may overwrite with its output, because that input is not read afterwards. */
function overwritten(
  call: Call,
  index: number,
  lifetimes: ReadonlyMap<ArenaValue, Lifetime>,
  lastUse: ReadonlyMap<ArenaValue, number>,
): Lifetime | undefined {
  const out = call.operands.out;
  if (out === undefined || !(out.place instanceof ArenaValue) || !coversPlace(out)) return undefined;
  for (const name of operatorSpec(call.op).inPlace) {
    const input = call.operands[name];
    if (input === undefined || !(input.place instanceof ArenaValue) || !coversPlace(input)) continue;
    const alone = Object.values(call.operands).filter((tensor) => tensor.place === input.place).length === 1;
    const lifetime = lifetimes.get(input.place);
    const free = lifetime?.values.every((value) => (lastUse.get(value) ?? index) <= index) ?? false;
    if (alone && free && input.dtype === out.dtype && input.shape.join() === out.shape.join()) return lifetime;
  }
  return undefined;
}

function coversPlace(tensor: Tensor): boolean {
  return tensor.offset === 0 && isContiguous(tensor) && tensor.place.bytes === denseBytes(tensor);
}
