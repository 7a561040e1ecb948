/** Prepares a prompt for the tokenizer: the reference lower-cases and strips it, or cleans it like a caption. */

import { cleanCaption } from './clean-caption.ts';
import { strip } from './python-text.ts';

/** The text that is tokenised for a prompt; the instruction before it is left unchanged. */
export function processPrompt(text: string, options: { cleanCaption?: boolean } = {}): string {
  // The reference cleans twice: the first pass may uncover what the second one removes.
  if (options.cleanCaption === true) return cleanCaption(cleanCaption(text));
  return strip(text.toLowerCase());
}
