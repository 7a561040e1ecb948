/** The first stage: from prompts to embeddings. */

import type { PromptEmbeds } from '../../models/prompt-embeds.ts';
import type { TextSelection } from '../../text/selection.ts';
import type { Job, RunningJob, Stage, StageProgram } from './stage.ts';

export class TextStage implements Stage {
  readonly name = 'text';
  readonly models = ['textEncoder'] as const;
  readonly largeArena = false;
  /** The result of `run`: embeddings of the negative prompts, if there are any, then of the prompts. */
  embeds: readonly PromptEmbeds[] = [];
  readonly #job: Job;

  constructor(job: Job) {
    this.#job = job;
  }

  /** The keys and values of the instruction. */
  get leaves() {
    const length = this.#prefixLength;
    const { textEncoder } = this.#job.parts;
    return { lastingBytes: length > 0 ? textEncoder.prefixBytes(length) : 0, generationBytes: 0 };
  }

  get #prefixLength(): number {
    return Math.max(0, ...this.#job.tokens.positive.map((prompt) => prompt.prefixLength));
  }

  programs(): readonly StageProgram[] {
    const { parts, tokens } = this.#job;
    const { textEncoder } = parts;
    const { lastingBytes } = this.leaves;
    const prefixLength = this.#prefixLength;
    const program = (name: string, { plan, stateBytes }: ReturnType<typeof textEncoder.plan>): StageProgram => {
      return { name, runs: 1, plan, stateBytes: lastingBytes + stateBytes };
    };
    const own = (prompts: readonly TextSelection[]) =>
      prompts.map(({ ids, prefixLength: shared }) => ids.length - shared);
    const { positive, negative } = tokens;
    return [
      ...(prefixLength > 0 ? [program('instruction', textEncoder.planInstruction(prefixLength))] : []),
      program('text_encode', textEncoder.plan(own(positive), prefixLength)),
      ...(negative.length > 0 ? [program('text_encode negative', textEncoder.plan(own(negative), 0))] : []),
    ];
  }

  async run({ parts, tokens, request }: RunningJob): Promise<void> {
    this.embeds = await parts.textEncoder.encode([...tokens.negative, ...tokens.positive], request.signal);
  }

  release(): void {}
}
