/** White space as in Python. JavaScript's trim() keeps U+001C..U+001F and U+0085, and removes U+FEFF. */

/** The inside of a character class: what `str.strip()` and `\s` treat as white space. */
export const PYTHON_SPACE =
  '\\u0009-\\u000d\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
const SPACE = new RegExp(`[${PYTHON_SPACE}]`);

/** Python's `str.strip()`. */
export function strip(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && SPACE.test(text.charAt(start))) start++;
  while (end > start && SPACE.test(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}
