/**
 * Prompts to embeddings. Only real tokens are computed; the instruction's keys and values are computed once and
 * continued by every prompt (exact, since attention is causal).
 */

import { SanaError } from '../base/errors.ts';
import type { Component } from '../checkpoint/checkpoint.ts';
import type { Gemma2Config } from '../checkpoint/configs.ts';
import type { DType } from '../device/native.ts';
import { Graph } from '../graph/graph.ts';
import type { Plan } from '../graph/planner.ts';
import { Program, read, write } from '../graph/program.ts';
import { Storage, type Tensor } from '../graph/tensor.ts';
import { embeddingName, Gemma2, rotaryAngles } from '../networks/gemma2.ts';
import type { ActivationDtype, WeightsProgress } from '../networks/weights.ts';
import type { TextSelection } from '../text/selection.ts';
import type { Engine } from './engine.ts';
import type { InstructionCache } from './instruction-cache.ts';
import { PromptCache } from './prompt-cache.ts';
import type { PromptEmbeds } from './prompt-embeds.ts';

/** Read row by row when a prompt needs it, or not at all. */
const others = /^(embed_tokens\.weight|lm_head\.weight)$/;

/** Keys and values of an instruction, and the hidden state of its first token. */
interface Prefix {
  readonly ids: readonly number[];
  readonly storage: Storage;
  readonly keysValues: readonly Tensor[]; // [L][P, 2 Hkv D]
  readonly first: Float32Array; // [C]
}

/** The memory and the program of one batch of sequences. */
interface EncodeGraph {
  readonly storage: Storage;
  readonly plan: Plan;
  readonly embeddings: Tensor; // [T, C]
  readonly cos: Tensor; // [T, D/2]
  readonly sin: Tensor; // [T, D/2]
  readonly hidden: Tensor; // [T, C] f32
  readonly nonFinite: Tensor; // [1] i32
}

export class TextEncoder {
  readonly #cache = new PromptCache();
  readonly #engine: Engine;
  readonly #component: Component<Gemma2Config>;
  readonly #dtype: ActivationDtype;
  readonly #instructions: InstructionCache | undefined;
  #model: Gemma2;
  #prefix: Prefix | undefined;

  /** `instructions`: where instructions computed by other processes are kept, and this one's are stored. */
  constructor(
    engine: Engine,
    component: Component<Gemma2Config>,
    dtype: ActivationDtype,
    instructions?: InstructionCache,
  ) {
    this.#instructions = instructions;
    this.#engine = engine;
    this.#component = component;
    this.#dtype = dtype;
    this.#model = new Gemma2(engine.device, component.config, dtype);
  }

  get config(): Gemma2Config {
    return this.#component.config;
  }

  get weightBytes(): number {
    return this.#model.weights.bytes;
  }

  get loaded(): boolean {
    return this.#model.weights.storage.allocated;
  }

  /** Bytes on the device now for an instruction's keys and values. */
  get heldInstructionBytes(): number {
    return this.#prefix?.storage.bytes ?? 0;
  }

  /** Throws ERR_SANA_MODEL if the checkpoint's tensors do not match its configuration. */
  check(): void {
    const { config, tensors, configPath } = this.#component;
    const table = tensors.get(embeddingName);
    const shape = [config.vocabSize, config.hiddenSize];
    if (table === undefined || table.shape.join() !== shape.join()) {
      const found = table === undefined ? 'is missing' : `is [${table.shape.join(', ')}]`;
      throw new SanaError(
        'ERR_SANA_MODEL',
        `${configPath}: ${embeddingName} ${found}, expected [${shape.join(', ')}]`,
        {
          hint: 'Configuration and weights must come from the same release: download the folder again.',
        },
      );
    }
    this.#model.weights.check(this.#component, others);
  }

  async load(signal?: AbortSignal, onProgress?: (progress: WeightsProgress) => void): Promise<void> {
    if (this.loaded) return;
    await this.#model.weights.load(this.#component, {
      others,
      signal,
      ...(onProgress && { onProgress }),
    });
  }

  /** Releases the weights' memory. The next encode loads them again; the instruction's keys and values stay. */
  release(): void {
    this.#model.weights.dispose();
  }

  dispose(): void {
    this.#cache.clear();
    this.release();
    this.#prefix?.storage.dispose();
    this.#prefix = undefined;
  }

  /** Embeddings of each sequence, computed or cached: if all are cached, the weights are not needed. */
  async encode(sequences: readonly TextSelection[], signal?: AbortSignal): Promise<PromptEmbeds[]> {
    const remembered = sequences.map((sequence) => this.#cache.get(sequence));
    const missing = sequences.filter((_, i) => remembered[i] === undefined);
    const computed = missing.length > 0 ? await this.#encode(missing, signal) : [];
    computed.forEach((embeds, i) => {
      const sequence = missing[i];
      if (sequence !== undefined) this.#cache.set(sequence, embeds);
    });
    let next = 0;
    return remembered.map((embeds) => embeds ?? computed[next++]).filter((embeds) => embeds !== undefined);
  }

  async #encode(sequences: readonly TextSelection[], signal?: AbortSignal): Promise<PromptEmbeds[]> {
    await this.load(signal);
    const results: (PromptEmbeds | undefined)[] = sequences.map(() => undefined);
    // Sequences that continue the same instruction are computed in one pass, the others in another.
    const groups = new Map<string, number[]>();
    sequences.forEach(({ ids, prefixLength }, i) => {
      const key = ids.slice(0, prefixLength).join();
      groups.set(key, [...(groups.get(key) ?? []), i]);
    });
    for (const members of groups.values()) {
      const group = members.map((i) => sequences[i]).filter((sequence) => sequence !== undefined);
      const embeds = await this.#encodeGroup(group, signal);
      members.forEach((i, k) => {
        results[i] = embeds[k];
      });
    }
    return results.filter((embeds) => embeds !== undefined);
  }

  /** Plans one pass, for `explain`: nothing is allocated or run. */
  plan(lengths: readonly number[], prefixLength: number): { plan: Plan; stateBytes: number } {
    const scratch = new Storage(this.#engine.device, 'instruction');
    const prefix = prefixLength > 0 ? this.#reservePrefix(scratch, prefixLength) : undefined;
    const { plan, storage } = this.#record(lengths, prefix);
    return { plan, stateBytes: storage.bytes };
  }

  /** Plans the pass that stores an instruction's keys and values. */
  planInstruction(tokens: number): { plan: Plan; stateBytes: number } {
    const capture = this.#reservePrefix(new Storage(this.#engine.device, 'instruction'), tokens);
    const { plan, storage } = this.#record([tokens], undefined, capture);
    return { plan, stateBytes: storage.bytes };
  }

  /** Bytes that stay allocated for an instruction of that many tokens. */
  prefixBytes(prefixLength: number): number {
    const scratch = new Storage(this.#engine.device, 'instruction');
    this.#reservePrefix(scratch, prefixLength);
    return scratch.bytes;
  }

  async #encodeGroup(sequences: readonly TextSelection[], signal?: AbortSignal): Promise<PromptEmbeds[]> {
    const [first] = sequences;
    if (first === undefined) return [];
    const channels = this.config.hiddenSize;
    const skipped = first.prefixLength;
    const prefix = skipped > 0 ? await this.#prefixOf(first.ids.slice(0, skipped), signal) : undefined;
    const computed = sequences.map(({ ids }) => ids.slice(skipped));
    const positions = computed.map((ids) => ids.map((_, i) => skipped + i));
    const hidden = await this.#run(computed, positions, { prefix: prefix?.keysValues }, signal);

    let start = 0;
    return sequences.map(({ positions: selected }, i) => {
      const data = new Float32Array(selected.length * channels);
      selected.forEach((position, row) => {
        if (position < skipped && position !== 0)
          throw new Error('only the first token of an instruction has its hidden state kept');
        const from = start + position - skipped;
        const source = position < skipped ? prefix?.first : hidden.subarray(from * channels, (from + 1) * channels);
        if (source !== undefined) data.set(source, row * channels);
      });
      start += computed[i]?.length ?? 0;
      return { tokens: selected.length, channels, data };
    });
  }

  async #prefixOf(ids: readonly number[], signal?: AbortSignal): Promise<Prefix> {
    if (this.#prefix?.ids.join() === ids.join()) return this.#prefix;
    this.#prefix?.storage.dispose();
    this.#prefix = undefined;
    const storage = new Storage(this.#engine.device, 'instruction');
    const keysValues = this.#reservePrefix(storage, ids.length);
    storage.allocate();
    try {
      const first =
        (await this.#findInstruction(ids, storage)) ??
        (await this.#computeInstruction(ids, storage, keysValues, signal));
      this.#prefix = { ids, storage, keysValues, first };
      return this.#prefix;
    } catch (error) {
      storage.dispose();
      throw error;
    }
  }

  /**
   * Fills the memory of an instruction with what another process computed; returns the hidden state of its first token.
   */
  async #findInstruction(ids: readonly number[], storage: Storage): Promise<Float32Array | undefined> {
    const kept = await this.#instructions?.find(ids, storage.bytes, this.config.hiddenSize);
    if (kept === undefined) return undefined;
    await this.#engine.device.write(storage.buffer, 0, kept.keysValues);
    return kept.first;
  }

  async #computeInstruction(
    ids: readonly number[],
    storage: Storage,
    capture: readonly Tensor[],
    signal: AbortSignal | undefined,
  ): Promise<Float32Array> {
    const hidden = await this.#run([ids], [ids.map((_, i) => i)], { capture }, signal);
    const first = hidden.slice(0, this.config.hiddenSize);
    if (this.#instructions !== undefined) {
      const keysValues = new Uint8Array(await this.#engine.device.read(storage.buffer, 0, storage.bytes));
      await this.#instructions.keep(ids, { keysValues, first });
    }
    return first;
  }

  #reservePrefix(storage: Storage, tokens: number): Tensor[] {
    return Array.from({ length: this.#model.layers }, () =>
      storage.reserve(this.#dtype, [tokens, this.#model.keysValuesChannels]),
    );
  }

  #record(lengths: readonly number[], prefix?: readonly Tensor[], capture?: readonly Tensor[]): EncodeGraph {
    const { hiddenSize, headDim } = this.config;
    const tokens = lengths.reduce((a, b) => a + b, 0);
    const storage = new Storage(this.#engine.device, 'prompt');
    const embeddings = storage.reserve(this.#dtype, [tokens, hiddenSize]);
    const cos = storage.reserve('f32', [tokens, headDim / 2]);
    const sin = storage.reserve('f32', [tokens, headDim / 2]);
    const hidden = storage.reserve('f32', [tokens, hiddenSize]);
    const nonFinite = storage.reserve('i32', [1]);
    const g = new Graph('text encoder');
    this.#model.record(g, { embeddings, cos, sin, lengths, prefix, capture }, { into: hidden });
    g.countNonFinite(hidden, nonFinite);
    return { storage, plan: g.plan(), embeddings, cos, sin, hidden, nonFinite };
  }

  /** The last hidden states of sequences, concatenated, [T, C]. */
  async #run(
    sequences: readonly (readonly number[])[],
    positions: readonly (readonly number[])[],
    options: { prefix?: readonly Tensor[] | undefined; capture?: readonly Tensor[] },
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const { device } = this.#engine;
    const graph = this.#record(
      sequences.map((ids) => ids.length),
      options.prefix,
      options.capture,
    );
    graph.storage.allocate();
    try {
      const table = this.#component.tensors.get(embeddingName);
      if (table === undefined) throw new Error('check() demands the table');
      await device.gather({
        file: this.#component.file(table),
        fileOffset: table.offset,
        fileDtype: table.dtype as DType,
        fileRows: this.config.vocabSize,
        rowElements: this.config.hiddenSize,
        rows: this.#checkIds(sequences.flat()),
        buffer: graph.storage.buffer,
        target: graph.embeddings,
      });
      const angles = rotaryAngles(this.config, positions.flat());
      await write(device, graph.cos, angles.cos);
      await write(device, graph.sin, angles.sin);
      const program = new Program(device, graph.plan);
      try {
        await this.#engine.run(program, signal);
      } finally {
        program.dispose();
      }
      const [count = 0] = new Int32Array(await read(device, graph.nonFinite));
      if (count > 0) {
        throw new SanaError('ERR_SANA_NUMERICS', `The text encoder made ${count} NaN or infinite values`, {
          hint: "The weights are damaged, or overflow in this dtype: try dtype 'float32' or download the text encoder again.",
        });
      }
      return new Float32Array(await read(device, graph.hidden));
    } finally {
      graph.storage.dispose();
    }
  }

  #checkIds(ids: readonly number[]): readonly number[] {
    const wrong = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < this.config.vocabSize));
    if (wrong === undefined) return ids;
    throw new SanaError(
      'ERR_SANA_MODEL',
      `The tokenizer made token ${wrong}, and the text encoder has ${this.config.vocabSize}`,
      {
        hint: 'Tokenizer and text encoder must come from the same release: download the folder again.',
      },
    );
  }
}
