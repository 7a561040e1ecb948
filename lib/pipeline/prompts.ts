/** Prompts to tokens, and their embeddings as one tensor. */

import type { PromptEmbeds } from '../models/prompt-embeds.ts';
import type { CheckedRequest } from '../request/request.ts';
import type { TensorLike } from '../request/types.ts';
import { joinInstruction } from '../text/instruction.ts';
import { processPrompt } from '../text/prompt.ts';
import { selectText, type TextSelection } from '../text/selection.ts';
import type { Tokenizer } from '../text/tokenizer.ts';

/** The tokens of a request's prompts, as input for the text encoder. */
export interface TokenizedPrompts {
  readonly positive: readonly TextSelection[]; // [P]
  readonly negative: readonly TextSelection[]; // [P], or none without guidance
}

/** The instruction is put before prompts, never before negative prompts. */
export async function tokenize(
  tokenizer: Tokenizer,
  request: Pick<
    CheckedRequest,
    'prompts' | 'negativePrompts' | 'complexHumanInstruction' | 'maxSequenceLength' | 'cleanCaption' | 'guided'
  >,
): Promise<TokenizedPrompts> {
  const { prompts, negativePrompts, maxSequenceLength, cleanCaption, guided } = request;
  const instruction = joinInstruction(request.complexHumanInstruction);
  const clean = (text: string) => processPrompt(text, { cleanCaption });
  const negatives = guided ? negativePrompts : [];
  const texts = [instruction, ...prompts.map((prompt) => instruction + clean(prompt)), ...negatives.map(clean)];
  const [instructionIds, ...ids] = await tokenizer.encodeBatch(texts);
  const own = instruction === '' ? undefined : instructionIds;
  return {
    positive: ids.slice(0, prompts.length).map((tokens) => selectText(tokens, maxSequenceLength, own)),
    negative: ids.slice(prompts.length).map((tokens) => selectText(tokens, maxSequenceLength)),
  };
}

/** Embeddings of several prompts as one tensor, zero-padded to the longest, and its mask. */
export function padded(prompts: readonly PromptEmbeds[]): { embeds: TensorLike; mask: TensorLike } {
  const n = Math.max(...prompts.map(({ tokens }) => tokens));
  const channels = prompts[0]?.channels ?? 0;
  const embeds = new Float32Array(prompts.length * n * channels);
  const mask = new Float32Array(prompts.length * n);
  prompts.forEach(({ tokens, data }, i) => {
    embeds.set(data, i * n * channels);
    mask.fill(1, i * n, i * n + tokens);
  });
  return {
    embeds: { data: embeds, shape: [prompts.length, n, channels] },
    mask: { data: mask, shape: [prompts.length, n] },
  };
}
