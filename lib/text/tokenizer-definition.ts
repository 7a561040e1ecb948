/**
 * Checks a `tokenizer.json` before it is built: that it is a byte-pair tokenizer of Gemma's kind, with patterns that
 * are plain strings. A regular expression from a file could keep the tokenizer busy for ever.
 */

import { modelError } from '../runtime/model-error.ts';

export const MAX_TOKENIZER_BYTES = 128 * 1024 * 1024;
const MAX_TOKENS = 2 ** 22;
const MAX_MERGES = 2 ** 23;
const MAX_TOKEN_CHARACTERS = 4096;
const MAX_REPLACEMENT_CHARACTERS = 16; // what a replaced string may grow to

type Fields = Readonly<Record<string, unknown>>;

/** The parts of a tokenizer definition that encoding needs. */
export interface TokenizerDefinition {
  readonly model: object;
  readonly added_tokens: readonly object[];
  readonly normalizer: object | null;
  readonly pre_tokenizer: object | null;
  readonly post_processor: object;
  readonly decoder: null;
}

/** `json` is what `file` holds. */
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
  const id = (value: unknown, what: string): void =>
    check(
      Number.isInteger(value) && (value as number) >= 0 && (value as number) < MAX_TOKENS,
      `expected ${what} to be an id below ${MAX_TOKENS}`,
    );
  const plainPattern = (step: Fields, what: string): void => {
    const pattern = fields(step.pattern, `the pattern of ${what}`);
    check(!('Regex' in pattern), `${what} has a regular expression, which is not supported`);
    check(text(pattern.String, `the pattern of ${what}`, MAX_TOKEN_CHARACTERS) !== '', `${what} has an empty pattern`);
  };

  const whole = fields(json, 'the tokenizer');

  const model = fields(whole.model, '`model`');
  check(model.type === 'BPE', `expected \`model.type\` to be "BPE", found ${JSON.stringify(model.type) ?? 'nothing'}`);
  const vocabulary = Object.entries(fields(model.vocab, '`model.vocab`'));
  check(
    vocabulary.length > 0 && vocabulary.length <= MAX_TOKENS,
    `expected \`model.vocab\` to have 1 to ${MAX_TOKENS} tokens`,
  );
  for (const [token, value] of vocabulary) {
    check(token.length <= MAX_TOKEN_CHARACTERS, `\`model.vocab\` has a token of ${token.length} characters`);
    id(value, 'an element of `model.vocab`');
  }
  for (const merge of list(model.merges, '`model.merges`', MAX_MERGES)) {
    const pair = Array.isArray(merge) ? merge : text(merge, 'a merge', 2 * MAX_TOKEN_CHARACTERS + 1).split(' ');
    check(
      pair.length === 2 && pair.every((part) => typeof part === 'string'),
      'expected every merge to be of two tokens',
    );
  }
  if (model.unk_token !== null && model.unk_token !== undefined)
    text(model.unk_token, '`model.unk_token`', MAX_TOKEN_CHARACTERS);
  for (const key of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix']) {
    check((model[key] ?? null) === null, `\`model.${key}\` is not supported`);
  }

  const added = list(whole.added_tokens ?? [], '`added_tokens`', 100_000).map((token) => {
    const { content, id: value } = fields(token, 'an added token');
    check(text(content, 'the content of an added token', MAX_TOKEN_CHARACTERS) !== '', 'an added token is empty');
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
    model,
    added_tokens: added,
    normalizer: (whole.normalizer ?? null) as object | null, // checked above
    pre_tokenizer: (whole.pre_tokenizer ?? null) as object | null,
    post_processor: post,
    decoder: null,
  };
}

/** The steps of a sequence, or the one step there is. A sequence inside a sequence is a step of an unknown type. */
function steps(value: unknown, key: string): readonly unknown[] {
  if (value === null || value === undefined) return [];
  const sequence = value as Fields;
  return sequence.type === 'Sequence' && Array.isArray(sequence[key]) ? sequence[key] : [value];
}
