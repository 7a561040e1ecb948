import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { decodeEntities, htmlText } from '../../lib/text/html-text.ts';
import { COMPLEX_HUMAN_INSTRUCTION, joinInstruction } from '../../lib/text/instruction.ts';
import { processPrompt } from '../../lib/text/prompt.ts';
import { strip } from '../../lib/text/python-text.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { fixture } from '../support/files.ts';
import { random } from '../support/random.ts';

interface Case {
  readonly text: string;
  readonly out: string;
}

describe('prompt', () => {
  const golden: { readonly lower_strip: readonly Case[]; readonly clean_caption: readonly Case[] } = JSON.parse(
    readFileSync(fixture('golden', 'prompt_preprocessing.json'), 'utf8'),
  );

  it('lower-cases and strips as Python does', () => {
    assert.ok(golden.lower_strip.length > 20);
    for (const { text, out } of golden.lower_strip) assert.equal(processPrompt(text), out);
  });

  it('strips exactly what Python considers white space', () => {
    const stripped: string[] = [];
    for (let code = 0; code < 0x10000; code++)
      if (strip(String.fromCharCode(code)) === '') stripped.push(code.toString(16));
    assert.equal(
      stripped.join(' '),
      '9 a b c d 1c 1d 1e 1f 20 85 a0 1680 2000 2001 2002 2003 2004 2005 2006 2007 2008 2009 200a 2028 2029 202f 205f 3000',
    );
    assert.equal(strip('\ufeff a \u200b'), '\ufeff a \u200b');
  });

  it('cleans captions as the reference does', () => {
    assert.ok(golden.clean_caption.length > 10);
    for (const { text, out } of golden.clean_caption) assert.equal(processPrompt(text, { cleanCaption: true }), out);
  });

  const cleaned: readonly (readonly [string, string])[] = [
    ['a+cat%20on%C3%A9', 'a cat oné'], // percent-decoding
    ['see http://a.b/c now', 'see a. b c now'], // only the scheme is a url of the first rule
    ['mail me@you please', 'mail me please'],
    ['漢字 art', 'art'],
    ['a – b — c', 'a - b - c'],
    ['time 12:345678 x', 'time 12: x'],
    ['<script>alert(1)</script>cat', 'cat'],
    ['<a href="x>y">link</a> &lt;b&gt;', 'link'],
    ['one_two_three_four_five', 'one two three four five'],
    ['one_two', 'one_two'],
    ['"quoted"', 'quoted'],
    ['ﬁne ｗｉｄｅ', 'fine wide'],
    ['été_'.normalize('NFD'), 'été'],
  ];
  for (const [text, out] of cleaned) {
    it(`cleans ${JSON.stringify(text)}`, () => assert.equal(processPrompt(text, { cleanCaption: true }), out));
  }

  it('cleaning stays fast, whatever the text repeats', () => {
    const pieces = [
      'a.',
      'a',
      '1',
      'a1',
      '(',
      '<a',
      '<a "',
      '<script>',
      '<!--',
      '.',
      ' ',
      '-',
      '@',
      'a.com',
      'http:',
      '"',
      '\'"',
      '&amp',
      'free ',
      'worldwide ',
      'click on ',
      '1.',
      'x1',
      '1a1',
      '%41',
      '1:11 ',
      '#1',
      '_',
      'a\n',
      ' .',
      '\\n',
      'a.png',
      '&#1',
      '\u0301',
    ];
    const next = random(4);
    for (let i = 0; i < 100; i++) {
      const period = Array.from({ length: 1 + (i % 4) }, () => pieces[Math.floor(next() * pieces.length)]).join('');
      const start = cpuTime();
      processPrompt(period.repeat(Math.ceil(100_000 / period.length)), { cleanCaption: true });
      assert.ok(cpuTime() - start < 1000, JSON.stringify(period));
    }
  });

  it('decodes entities once, and leaves everything else', () => {
    assert.equal(
      decodeEntities('&lt;&amp;lt;&quot;&apos;&nbsp;&eacute;&euro;&#65;&#x42;&#99999999;'),
      '<&lt;"\'\u00a0é€AB\ufffd',
    );
    assert.equal(decodeEntities('&copyright &nothing; & &; &#; &amp'), '©right ¬hing; & &; &#; &');
    assert.equal(htmlText('<p>a<br/>b<!-- c --></p><style>d</style> e < f'), 'ab e < f');
  });

  it("the instruction is the reference's", () => {
    const { complex_human_instruction } = JSON.parse(readFileSync(fixture('golden', 'tokens_tiny.json'), 'utf8'));
    assert.deepEqual(COMPLEX_HUMAN_INSTRUCTION, complex_human_instruction);
    assert.ok(joinInstruction().endsWith('\nUser Prompt: '));
    assert.equal(joinInstruction([]), '');
    assert.equal(joinInstruction(null), '');
  });
});
