/**
 * Checks a `tokenizer.json` before it is used: it must be a byte-pair tokenizer like Gemma's, with patterns that are
 * plain strings. A regular expression from a file could keep the tokenizer busy for ever.
 */

import { modelError } from '../base/model-error.ts';

export const MAX_TOKENIZER_BYTES = 128 * 1024 * 1024;
const MAX_TOKENS = 2 ** 22;
const MAX_MERGES = 2 ** 23;
const MAX_TOKEN_CHARACTERS = 256; // eight times Gemma's longest: every substring up to that length is looked up
const MAX_ADDED_CHARACTERS = 4096; // of an added token or a pattern
const MAX_REPLACEMENT_CHARACTERS = 16; // the longest replacement of a string

type Fields = Readonly<Record<string, unknown>>;

/** The parts of a tokenizer definition that encoding needs, with tokens and merges separate. */
export interface TokenizerDefinition {
  readonly frame: {
    readonly model: object; // without tokens and merges
    readonly added_tokens: readonly object[];
    readonly normalizer: object | null;
    readonly pre_tokenizer: object | null;
    readonly post_processor: object;
    readonly decoder: null;
  };
  readonly ids: ReadonlyMap<string, number>; // of the tokens
  readonly longest: ReadonlyMap<string, number>; // characters of a token, by its first one
  /** The rank of each merge, the earliest 0, by its first token, `separator` and its second token. */
  readonly ranks: ReadonlyMap<string, number>;
  readonly separator: string;
}

/** `json` is the contents of `file`. */
export function checkTokenizerDefinition(json: unknown, file: string): TokenizerDefinition {
  const check = (condition: boolean, reason: string): void => {
    if (!condition)
      throw modelError(file, reason, 'Use the tokenizer.json of the Gemma-2 release that the checkpoint comes with.');
  };
  const fields = (value: unknown, what: string): Fields => {
    check(typeof value === 'object' && value !== null && !Array.isArray(value), `expected ${what} to be an object`);
    return value as Fields;
  };
  const list = (value: unknown, what: string, max: number): readonly unknown[] => {
    check(Array.isArray(value) && value.length <= max, `expected ${what} to be a list of at most ${max} elements`);
    return value as readonly unknown[];
  };
  const text = (value: unknown, what: string, max: number): string => {
    check(
      typeof value === 'string' && value.length <= max,
      `expected ${what} to be a string of at most ${max} characters`,
    );
    return value as string;
  };
  const id = (value: unknown, what: string): number => {
    const valid = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < MAX_TOKENS;
    check(valid, `expected ${what} to be an id below ${MAX_TOKENS}`);
    return value as number; // checked
  };
  const plainPattern = (step: Fields, what: string): void => {
    const pattern = fields(step.pattern, `the pattern of ${what}`);
    check(!('Regex' in pattern), `${what} has a regular expression, which is not supported`);
    check(text(pattern.String, `the pattern of ${what}`, MAX_ADDED_CHARACTERS) !== '', `${what} has an empty pattern`);
  };

  const whole = fields(json, 'the tokenizer');

  const model = fields(whole.model, '`model`');
  check(model.type === 'BPE', `expected \`model.type\` to be "BPE", found ${JSON.stringify(model.type) ?? 'nothing'}`);
  // Plain loops: creating entries and pairs for a map takes twice the time, a second in total.
  const vocabulary = fields(model.vocab, '`model.vocab`');
  const ids = new Map<string, number>();
  const longest = new Map<string, number>();
  for (const token of Object.keys(vocabulary)) {
    check(token.length <= MAX_TOKEN_CHARACTERS, `\`model.vocab\` has a token of ${token.length} characters`);
    ids.set(token, id(vocabulary[token], 'an element of `model.vocab`'));
    const first = token.charAt(0);
    if (token.length > (longest.get(first) ?? 0)) longest.set(first, token.length);
  }
  check(ids.size > 0 && ids.size <= MAX_TOKENS, `expected \`model.vocab\` to have 1 to ${MAX_TOKENS} tokens`);
  const merges = list(model.merges, '`model.merges`', MAX_MERGES);
  // Files of either format: 'a b', or ['a', 'b'], whose tokens may contain spaces.
  const separator = Array.isArray(merges[0]) ? '\0' : ' ';
  const ranks = new Map<string, number>();
  let rank = 0;
  for (const merge of merges) {
    const strings = Array.isArray(merge) && merge.every((part) => typeof part === 'string');
    const pair = strings ? merge.join(separator) : text(merge, 'a merge', 2 * MAX_TOKEN_CHARACTERS + 1);
    const at = pair.indexOf(separator);
    check(at > 0 && pair.indexOf(separator, at + 1) < 0, 'expected every merge to be of two tokens');
    ranks.set(pair, rank++);
  }
  if (model.unk_token !== null && model.unk_token !== undefined)
    text(model.unk_token, '`model.unk_token`', MAX_TOKEN_CHARACTERS);
  for (const key of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    check((model[key] ?? null) === null, `\`model.${key}\` is not supported`);
  }

  const added = list(whole.added_tokens ?? [], '`added_tokens`', 100_000).map((token) => {
    const { content, id: value } = fields(token, 'an added token');
    check(text(content, 'the content of an added token', MAX_ADDED_CHARACTERS) !== '', 'an added token is empty');
    id(value, 'the id of an added token');
    return token as object;
  });

  for (const step of steps(whole.normalizer, 'normalizers')) {
    const normalizer = fields(step, '`normalizer`');
    check(
      normalizer.type === 'Replace',
      `expected \`normalizer\` to be of type Replace, found ${JSON.stringify(normalizer.type) ?? 'nothing'}`,
    );
    plainPattern(normalizer, '`normalizer`');
    text(normalizer.content, 'the content of `normalizer`', MAX_REPLACEMENT_CHARACTERS);
  }
  for (const step of steps(whole.pre_tokenizer, 'pretokenizers')) {
    const preTokenizer = fields(step, '`pre_tokenizer`');
    check(
      preTokenizer.type === 'Split',
      `expected \`pre_tokenizer\` to be of type Split, found ${JSON.stringify(preTokenizer.type) ?? 'nothing'}`,
    );
    plainPattern(preTokenizer, '`pre_tokenizer`');
  }
  const post = fields(whole.post_processor, '`post_processor`');
  check(
    post.type === 'TemplateProcessing',
    `expected \`post_processor\` to be of type TemplateProcessing, found ${JSON.stringify(post.type) ?? 'nothing'}`,
  );
  for (const piece of list(post.single, '`post_processor.single`', 8))
    fields(piece, 'a piece of `post_processor.single`');

  return {
    frame: {
      model: { ...model, vocab: undefined, merges: undefined },
      added_tokens: added,
      normalizer: (whole.normalizer ?? null) as object | null, // checked above
      pre_tokenizer: (whole.pre_tokenizer ?? null) as object | null,
      post_processor: post,
      decoder: null,
    },
    ids,
    longest,
    ranks,
    separator,
  };
}

/** The steps of a sequence, or the single step. A sequence inside a sequence is a step of an unknown type. */
function steps(value: unknown, key: string): readonly unknown[] {
  if (value === null || value === undefined) return [];
  const sequence = value as Fields;
  return sequence.type === 'Sequence' && Array.isArray(sequence[key]) ? sequence[key] : [value];
}
