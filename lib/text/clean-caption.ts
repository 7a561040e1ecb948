/**
 * Caption cleaning, `clean_caption=True` in the reference: the rules that were applied to its training captions, in
 * order.
 *
 * Best effort, not bit for bit: wrongly decoded text is not repaired, and HTML is handled with a few patterns where the
 * reference has a parser. The patterns are Python's, whose \w, \d, \s and \b cover all of Unicode; `python` rewrites
 * them for JavaScript.
 */

import { decodeEntities, htmlText } from './html-text.ts';
import { PYTHON_SPACE, strip } from './python-text.ts';

/**
 * Only this much of a prompt is cleaned, and the rest is dropped: three times what the text encoder reads, and little
 * enough that patterns which look ahead from every character stay fast.
 */
const MAX_CHARACTERS = 4096;

const WORD = String.raw`\p{L}\p{N}_`;

/** A Python pattern, applied to the whole text. */
function python(pattern: string): RegExp {
  const classes: Readonly<Record<string, [inside: string, outside: string]>> = {
    w: [WORD, `[${WORD}]`],
    d: [String.raw`\p{Nd}`, String.raw`\p{Nd}`],
    D: [String.raw`\P{Nd}`, String.raw`\P{Nd}`],
    s: [PYTHON_SPACE, `[${PYTHON_SPACE}]`],
    S: ['', `[^${PYTHON_SPACE}]`],
    b: ['', `(?:(?<=[${WORD}])(?![${WORD}])|(?<![${WORD}])(?=[${WORD}]))`],
  };
  let source = '';
  let inside = false;
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern.charAt(i);
    const known = character === '\\' ? classes[pattern.charAt(i + 1)] : undefined;
    if (known !== undefined) {
      source += inside ? known[0] : known[1];
      i++;
    } else if (character === '\\') {
      source += character + pattern.charAt(++i);
    } else {
      if (character === '[') inside = true;
      if (character === ']') inside = false;
      source += character;
    }
  }
  return new RegExp(source, 'gu');
}

type Rule = readonly [pattern: RegExp, replacement: string];
const rules = (...pairs: readonly (readonly [string, string])[]): readonly Rule[] =>
  pairs.map(([pattern, replacement]) => [python(pattern), replacement]);
const apply = (text: string, list: readonly Rule[]): string =>
  list.reduce((result, [pattern, replacement]) => result.replace(pattern, replacement), text);

const DOMAIN = String.raw`[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w\/\-]*\b\/?(?!@)`;
const FILE = '(?:png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4)';

const ADDRESSES = rules(
  ['<person>', 'person'],
  [String.raw`\b(?:https?:(?:\/{1,3}|[a-zA-Z0-9%])|${DOMAIN})`, ''],
  [String.raw`\b(?:www:(?:\/{1,3}|[a-zA-Z0-9%])|${DOMAIN})`, ''],
);

const CHARACTERS = rules(
  [String.raw`@[\w\d]+\b`, ''],
  [String.raw`[\u31c0-\u31ef\u31f0-\u31ff\u3200-\u32ff\u3300-\u33ff\u3400-\u4dbf\u4dc0-\u4dff\u4e00-\u9fff]+`, ''], // CJK
  [
    String.raw`[\u002d\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0\ufe31\ufe32\ufe58\ufe63\uff0d]+`,
    '-',
  ],
  [String.raw`[\u0060\u00b4\u00ab\u00bb\u201c\u201d\u00a8]`, '"'],
  [String.raw`[\u2018\u2019]`, "'"],
  ['&quot;?', ''],
  ['&amp', ''],
  [String.raw`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}`, ' '],
  [String.raw`\d:\d\d\s+$`, ''],
  [String.raw`\\n`, ' '],
  [String.raw`#\d{1,3}\b`, ''],
  [String.raw`#\d{5,}\b`, ''],
  [String.raw`\b\d{6,}\b`, ''],
  [String.raw`(?<!\S)\S+\.${FILE}`, ''], // from the start of a run only: later starts find nothing more, but cost
  ['["\']{2,}', '"'],
  [String.raw`\.{2,}`, ' '],
  [String.raw`[#\u00ae\u2022\u00a9\u2122&@\u00b7\u00ba\u00bd\u00be\u00bf\u00a1\u00a7~)(\]\[}{|\\\/*]+`, ' '],
  [String.raw`\s+\.\s+`, ' '],
);

const LEFTOVERS = rules(
  [String.raw`\b[a-zA-Z]{1,3}\d{3,15}\b`, ''],
  [String.raw`\b[a-zA-Z]+\d+[a-zA-Z]+\b`, ''],
  [String.raw`\b\d+[a-zA-Z]+\d+\b`, ''],
  [String.raw`(?:worldwide\s+)?(?:free\s+)?shipping`, ''],
  [String.raw`(?:free\s)?download(?:\sfree)?`, ''],
  [String.raw`\bclick\b\s(?:for|on)\s\w+`, ''],
  [String.raw`\b${FILE}(?:\simages?)?`, ''],
  [String.raw`\bpage\s+\d+\b`, ''],
  [String.raw`\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b`, ' '],
  [String.raw`\b\d+\.?\d*[x\u0445\u00d7]\d+\.?\d*\b`, ''],
  [String.raw`\b\s+:\s+`, ': '],
  [String.raw`(\D[,.\/])\b`, '$1 '],
  [String.raw`\s+`, ' '],
  ['^["\']([^]+)["\']$', '$1'],
  [String.raw`^['_,\-:;]`, ''],
  [String.raw`['_,\-:+]$`, ''],
  [String.raw`^\.\S+$`, ''],
);

const SEPARATORS = /[-_]/g;

/** One pass of the cleaning. */
export function cleanCaption(caption: string): string {
  let text = strip(unquotePlus(caption.slice(0, MAX_CHARACTERS))).toLowerCase();
  text = apply(text, ADDRESSES);
  text = apply(htmlText(text), CHARACTERS);
  // "this-is-my-cute-cat": words joined by dashes, and not the few dashes of a sentence.
  if ((text.match(SEPARATORS)?.length ?? 0) > 3) text = text.replace(SEPARATORS, ' ');
  text = decodeEntities(decodeEntities(fixText(text)));
  return strip(apply(text, LEFTOVERS));
}

/** Python's `urllib.parse.unquote_plus`: bytes that are not UTF-8 become U+FFFD. */
function unquotePlus(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/(?:%[0-9a-fA-F]{2})+/g, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'));
}

const LIGATURES: ReadonlyMap<string, string> = new Map([
  ['\ufb00', 'ff'],
  ['\ufb01', 'fi'],
  ['\ufb02', 'fl'],
  ['\ufb03', 'ffi'],
  ['\ufb04', 'ffl'],
  ['\ufb05', 'st'],
  ['\ufb06', 'st'],
  ['\u0132', 'IJ'],
  ['\u0133', 'ij'],
]);

/** What the reference's text repair does to correctly decoded text: one form for each character. */
function fixText(text: string): string {
  return text
    .replace(/[\ufb00-\ufb06\u0132\u0133]/g, (ligature) => LIGATURES.get(ligature) ?? ligature)
    .replace(/[\u3000\uff01-\uff5e]/g, (wide) => wide.normalize('NFKC'))
    .replace(/\r\n?|[\u2028\u2029\u0085]/g, '\n')
    .replace(/[^\P{Cc}\t\n\f\r\u0080-\u009f]|[\u206a-\u206f\ufeff\ufff9-\ufffc]/gu, '')
    .normalize('NFC');
}
