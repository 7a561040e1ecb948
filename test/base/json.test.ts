import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parseJson, parseJsonObject } from '../../lib/base/json.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { sanaError } from '../support/errors.ts';
import { fixture } from '../support/files.ts';
import { mutate, random } from '../support/random.ts';

const parse = (text: string) => parseJson(text, 'config.json');
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('json', () => {
  it('parses what JSON.parse does, to the same values', () => {
    const texts = [
      'null',
      ' true ',
      '[]',
      '{}',
      '-0.5e-3',
      '[1,[2,[3]],{"a":{"b":"c"}}]',
      '"\\u00e9\\n\\"\\\\\\/"',
      '"\ud83d\udc3c \\ud83d\\udc3c"',
      '{"a b":1,"":2}',
      '1e400',
      '9007199254740993',
      '\t\r\n{"x" : [ 1 , 2 ] }\n',
    ];
    for (const text of texts) assert.deepEqual(plain(parse(text)), plain(JSON.parse(text)), text);
    for (const name of ['tokens_tiny', 'measured_errors', 'text_cases']) {
      const text = readFileSync(fixture('golden', `${name}.json`), 'utf8');
      assert.deepEqual(plain(parse(text)), JSON.parse(text));
    }
  });

  it('accepts NaN and the infinities as values, and leaves them alone in strings', () => {
    assert.deepEqual(parse('[NaN, Infinity, -Infinity, "NaN", "-Infinity"]'), [
      NaN,
      Infinity,
      -Infinity,
      'NaN',
      '-Infinity',
    ]);
    const path = fixture('sana-base', 'scheduler', 'scheduler_config.json');
    assert.equal(parseJsonObject(readFileSync(path, 'utf8'), path).lambda_min_clipped, Number.NEGATIVE_INFINITY);
  });

  it('keys that mean something to JavaScript are keys like any other', () => {
    const object = parseJsonObject('{"__proto__": {"x": 1}, "constructor": 2, "toString": 3}', 'f');
    assert.deepEqual(Object.keys(object), ['__proto__', 'constructor', 'toString']);
    assert.equal(({} as { x?: number }).x, undefined);
    assert.equal(object.hasOwnProperty, undefined);
  });

  const refused: readonly (readonly [string, string, string])[] = [
    ['an empty file', '', 'end of the file'],
    ['text after the value', '{} x', 'line 1, column 4: expected the end of the file'],
    ['a repeated key', '{"a": 1,\n "a": 2}', 'line 2, column 2: the key "a" appears twice'],
    ['a key repeated through an escape', '{"a": 1, "\\u0061": 2}', 'appears twice'],
    ['a missing comma', '[1 2]', "expected ',' or ']'"],
    ['a trailing comma', '[1,]', 'expected a value'],
    ['a trailing comma in an object', '{"a":1,}', 'expected a key in double quotes'],
    ['a key without quotes', '{a: 1}', 'expected a key'],
    ['a missing colon', '{"a" 1}', "expected ':'"],
    ['an unknown word', '[nul]', 'expected a value'],
    ['a string without an end', '["abc', 'line 1, column 2: a string has no end'],
    ['a string broken over lines', '["a\nb"]', 'control character'],
    ['an unknown escape', '["\\x41"]', 'unknown escape'],
    ['an escape cut off', '["\\u00', 'unknown escape'],
    ['a number with leading zeros', '[01]', "expected ',' or ']'"],
    ['a plus sign', '[+1]', 'expected a value'],
    ['a number cut off', '-', 'expected a value'],
    ['a number of a thousand digits', '1'.repeat(1000), '1000 characters'],
    ['nesting of a hundred thousand', '['.repeat(100_000), 'nested'],
    ['nesting of objects', '{"a":'.repeat(100_000), 'nested'],
    ['a million values', `[${'1,'.repeat(1_000_001)}1]`, 'more than 1000000 values'],
    ['a comment', '/* */ {}', 'expected a value'],
  ];
  for (const [what, text, part] of refused) {
    it(`rejects ${what}, naming the file`, () => {
      assert.throws(() => parse(text), sanaError('ERR_SANA_MODEL', 'config.json', part));
    });
  }

  it('rejects other JSON values where an object is expected', () => {
    assert.throws(
      () => parseJsonObject('[]', 'f.json'),
      sanaError('ERR_SANA_MODEL', 'f.json', 'expected an object', 'array'),
    );
  });

  it('4000 mutants of a config parse or give a typed error, fast', () => {
    const original = readFileSync(fixture('sana-base', 'scheduler', 'scheduler_config.json'));
    const next = random(1);
    let refusals = 0;
    const start = cpuTime();
    for (let i = 0; i < 4000; i++) {
      try {
        parse(Buffer.from(mutate(original, next)).toString('utf8'));
      } catch (error) {
        sanaError('ERR_SANA_MODEL', 'config.json')(error);
        refusals++;
      }
    }
    assert.ok(refusals > 1000 && refusals < 4000, `${refusals} refusals`);
    assert.ok(cpuTime() - start < 5000);
  });
});
