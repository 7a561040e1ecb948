/**
 * Encodes each text with a tokenizer made for it, of the tokens and merges that the text can use. There are few of
 * those, and they give the same ids as all of Gemma's 256 000 tokens and 580 000 merges, without the seconds and the
 * 200 MB that the library needs to prepare these.
 */

import { Tokenizer } from '@huggingface/tokenizers';
import type { TokenizerDefinition } from './tokenizer-definition.ts';

type Merge = readonly [first: string, second: string];

/** The ids of `text` and of the special tokens around it; undefined if the definition has no id. */
export function encodeText(definition: TokenizerDefinition, text: string): (number | undefined)[] {
  const tokens = tokensIn(normalized(definition, text), definition);
  return tokenizerOf(tokens, mergesInto(tokens, definition), definition).encode(text).ids;
}

function tokenizerOf(vocab: ReadonlyMap<string, number>, merges: readonly Merge[], { frame }: TokenizerDefinition) {
  return new Tokenizer({ ...frame, model: { ...frame.model, vocab: Object.fromEntries(vocab), merges } }, {});
}

/** `text` as merging sees it, after the normalizer's replacements: done by the library, on tokens that never merge. */
function normalized(definition: TokenizerDefinition, text: string): string {
  const characters = new Set([text, ...replacements(definition.frame.normalizer)].flatMap((part) => [...part]));
  const vocab = new Map([...characters].map((character, i) => [character, i]));
  return tokenizerOf(vocab, [], definition).encode(text, { add_special_tokens: false }).tokens.join('');
}

function replacements(normalizer: object | null): readonly string[] {
  const { content, normalizers } = (normalizer ?? {}) as { content?: string; normalizers?: readonly object[] };
  return normalizers?.flatMap(replacements) ?? (content === undefined ? [] : [content]);
}

/** The tokens that occur in `text`, and the fallbacks for anything else: one for each byte, and the unknown token. */
function tokensIn(text: string, { frame, ids, longest }: TokenizerDefinition): Map<string, number> {
  const found = new Map<string, number>();
  const look = (token: string) => {
    const id = ids.get(token);
    if (id !== undefined) found.set(token, id);
  };
  for (let start = 0; start < text.length; start++) {
    const most = longest.get(text.charAt(start)) ?? 0;
    for (let end = Math.min(start + most, text.length); end > start; end--) look(text.slice(start, end));
  }
  for (let byte = 0; byte < 256; byte++) look(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const { unk_token: unknown } = frame.model as { unk_token?: string | null };
  if (typeof unknown === 'string') look(unknown);
  return found;
}

/**
 * The merges that produce one of `tokens`, the earliest first. No other merge can apply, because every merge produces a
 * token.
 */
function mergesInto(tokens: ReadonlyMap<string, number>, { ranks, separator }: TokenizerDefinition): Merge[] {
  const found: { merge: Merge; rank: number }[] = [];
  for (const token of tokens.keys()) {
    for (let at = 1; at < token.length; at++) {
      const merge = [token.slice(0, at), token.slice(at)] as const;
      const rank = ranks.get(merge.join(separator));
      if (rank !== undefined) found.push({ merge, rank });
    }
  }
  return found.sort((a, b) => a.rank - b.rank).map(({ merge }) => merge);
}
