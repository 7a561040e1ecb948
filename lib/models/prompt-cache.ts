/** The embeddings of prompts that were encoded before: the same bits, without the work. */

import type { TextSelection } from '../text/selection.ts';
import type { PromptEmbeds } from './prompt-embeds.ts';

/** Host memory: a few hundred prompts of the released models, at 9 kB per token. */
const MOST_BYTES = 64e6;

/** Keeps the embeddings of the most recently used token sequences. */
export class PromptCache {
  readonly #mostBytes: number;
  readonly #kept = new Map<string, PromptEmbeds>(); // the most recently used one at the end
  #bytes = 0;

  constructor(mostBytes = MOST_BYTES) {
    this.#mostBytes = mostBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(sequence: TextSelection): PromptEmbeds | undefined {
    const key = keyOf(sequence);
    const embeds = this.#kept.get(key);
    if (embeds === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, embeds);
    return embeds;
  }

  set(sequence: TextSelection, embeds: PromptEmbeds): void {
    const key = keyOf(sequence);
    this.#drop(key);
    this.#kept.set(key, embeds);
    this.#bytes += embeds.data.byteLength;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#mostBytes) break;
      this.#drop(oldest);
    }
  }

  clear(): void {
    this.#kept.clear();
    this.#bytes = 0;
  }

  #drop(key: string): void {
    this.#bytes -= this.#kept.get(key)?.data.byteLength ?? 0;
    this.#kept.delete(key);
  }
}

/** Identifies a sequence: the tokens that are read, and which of them are kept. */
function keyOf({ ids, positions }: TextSelection): string {
  return `${ids.join()}/${positions.join()}`;
}
