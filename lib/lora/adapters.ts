/**
 * The adapters of a model, and which of them its weights contain now. If a merge fails, the matrix is recorded, so that
 * the next call finds and repairs it: nothing is computed with half-merged weights.
 */

import { argumentError } from '../base/errors.ts';
import { describeJson } from '../base/json.ts';
import type { Component } from '../checkpoint/checkpoint.ts';
import type { Plan } from '../graph/planner.ts';
import type { Weights } from '../networks/weights.ts';
import type { LoraDelta, LoraFile, LoraTargets } from './lora-file.ts';
import { type Contribution, type Merge, type MergeEngine, Merger } from './merge.ts';

/** An adapter that is loaded. */
export interface Adapter {
  readonly name: string;
  readonly scale: number;
  readonly sha256: string; // of its file
}

interface Entry extends Adapter {
  readonly deltas: readonly LoraDelta[];
}

const HOST_COPIES = 2; // of a chunk: as it is read back, and while it waits to be packed

export class Adapters {
  readonly #engine: MergeEngine;
  readonly #weights: Weights;
  readonly #merger: Merger;
  #entries: readonly Entry[] = [];
  /** The adapters in the matrices that differ from the checkpoint; 'unknown' after a failure. */
  readonly #held = new Map<string, readonly Contribution[] | 'unknown'>();

  constructor(engine: MergeEngine, weights: Weights, component: Component<unknown>) {
    this.#engine = engine;
    this.#weights = weights;
    this.#merger = new Merger(engine, weights, component);
  }

  get list(): readonly Adapter[] {
    return this.#entries.map(({ name, scale, sha256 }) => ({ name, scale, sha256 }));
  }

  /** What an adapter can change. */
  get targets(): LoraTargets {
    const module = (name: string) => name.replace(/\.weight$/, '');
    const matrices = this.#weights.matrices();
    const others = [...this.#weights.expected()].filter(([name]) => !matrices.has(name));
    return {
      matrices: new Map([...matrices].map(([name, size]) => [module(name), { out: size.rows, in: size.columns }])),
      others: new Map(
        others.map(([name, shape]) => [module(name), shape.length === 4 ? 'a depthwise convolution' : 'no matrix']),
      ),
    };
  }

  /** Throws ERR_SANA_ARGUMENT if an adapter already has that name. */
  checkNew(name: string): void {
    if (this.#entries.every((entry) => entry.name !== name)) return;
    throw argumentError(
      'name',
      'one that no loaded adapter has',
      name,
      'Pass another `name`, or unload that one first.',
    );
  }

  add(name: string, scale: number, { sha256, deltas }: LoraFile): void {
    this.checkNew(name);
    this.#entries = [...this.#entries, { name, scale, sha256, deltas }];
  }

  /** Removes one adapter, or all. The weights change at the next `merge`. */
  remove(name?: string): void {
    if (name !== undefined && this.#entries.every((entry) => entry.name !== name)) {
      const names = this.#entries.map((entry) => describeJson(entry.name)).join(', ');
      const hint = names === '' ? 'No adapter is loaded.' : `Loaded adapters: ${names}.`;
      throw argumentError('name', 'the name of a loaded adapter', name, hint);
    }
    this.#entries = name === undefined ? [] : this.#entries.filter((entry) => entry.name !== name);
  }

  /** Must be called when the weights have been read from the checkpoint, or released. */
  reset(): void {
    this.#held.clear();
  }

  /**
   * Makes the loaded weights those of the checkpoint plus every adapter times `loraScale`. Does nothing if they are
   * already.
   *
   * @throws SanaError ERR_SANA_MEMORY before anything changes, ERR_SANA_NUMERICS if the adapters overflow.
   */
  async merge(loraScale: number, signal?: AbortSignal): Promise<void> {
    const merges = this.#pending(loraScale);
    if (merges.length === 0) return;
    this.#demandMemory(merges);
    for (const merge of merges) {
      this.#held.set(merge.name, 'unknown');
      await this.#merger.merge(merge, signal);
      if (merge.contributions.length === 0) this.#held.delete(merge.name);
      else this.#held.set(merge.name, merge.contributions);
    }
  }

  /** What a merge would run now, and the memory it would need; undefined if there is nothing to compute. */
  explain(loraScale: number): { plan: Plan; stateBytes: number } | undefined {
    const merges = this.#pending(loraScale);
    const plan = this.#merger.plan(merges);
    return plan.calls.length === 0 ? undefined : { plan, stateBytes: this.#merger.scratchBytes(merges) };
  }

  /** Every matrix whose contents are not what they should be. */
  #pending(loraScale: number): Merge[] {
    const wanted = new Map<string, Contribution[]>();
    for (const { scale: own, deltas } of this.#entries) {
      for (const delta of deltas) {
        const scale = loraScale * own * delta.factor;
        if (scale === 0) continue;
        const name = `${delta.module}.weight`;
        wanted.set(name, [...(wanted.get(name) ?? []), { delta, scale }]);
      }
    }
    const names = new Set([...this.#held.keys(), ...wanted.keys()]);
    return [...names]
      .map((name) => ({ name, contributions: wanted.get(name) ?? [] }))
      .filter(({ name, contributions }) => !holds(this.#held.get(name) ?? [], contributions));
  }

  #demandMemory(merges: readonly Merge[]): void {
    const { device } = this.#engine;
    const inHostMemory = device.info.hostMemory;
    const bytes = this.#merger.scratchBytes(merges) * (inHostMemory ? 1 + HOST_COPIES : 1);
    this.#engine.demandMemory(bytes, 'Merging the LoRA adapters', 'Free memory, or unload the adapters.');
  }
}

function holds(held: readonly Contribution[] | 'unknown', wanted: readonly Contribution[]): boolean {
  if (held === 'unknown' || held.length !== wanted.length) return false;
  return wanted.every(({ delta, scale }, i) => held[i]?.delta === delta && held[i].scale === scale);
}
