/** The weights of one network, as a pipeline loads and releases them. */

import type { Component } from '../checkpoint/checkpoint.ts';
import type { Weights, WeightsProgress } from '../networks/weights.ts';

export class ComponentWeights {
  readonly #weights: Weights;
  readonly #component: Component<unknown>;
  readonly #others: RegExp | undefined;
  readonly #demandMemory: (bytes: number) => void;

  /**
   * @param options.others tensors of the component that belong to another network
   * @param options.demandMemory is called before memory is allocated that was not planned for, and throws if there is too little
   */
  constructor(
    weights: Weights,
    component: Component<unknown>,
    { others, demandMemory = () => {} }: { others?: RegExp; demandMemory?: (bytes: number) => void } = {},
  ) {
    this.#weights = weights;
    this.#component = component;
    this.#others = others;
    this.#demandMemory = demandMemory;
  }

  get weightBytes(): number {
    return this.#weights.bytes;
  }

  get loaded(): boolean {
    return this.#weights.storage.allocated;
  }

  /** Throws ERR_SANA_MODEL if the checkpoint's tensors do not match its configuration. */
  check(): void {
    this.#weights.check(this.#component, this.#others);
  }

  async load(signal?: AbortSignal, onProgress?: (progress: WeightsProgress) => void): Promise<void> {
    if (this.loaded) return;
    this.#demandMemory(this.weightBytes);
    await this.#weights.load(this.#component, {
      ...(this.#others && { others: this.#others }),
      signal,
      ...(onProgress && { onProgress }),
    });
  }

  release(): void {
    this.#weights.dispose();
  }
}
