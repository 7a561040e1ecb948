import assert from 'node:assert/strict';
import {
  PickleDict,
  PickleList,
  PickleObject,
  PickleTuple,
  type PickleValue,
  type PickleWorld,
  readPickle,
} from '../../lib/convert/pickle.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { sanaError } from '../support/errors.ts';
import { pickle } from '../support/torch-writer.ts';

class Thing extends PickleObject {
  readonly kind = 'a thing';
  readonly args: readonly PickleValue[];

  constructor(args: readonly PickleValue[] = []) {
    super();
    this.args = args;
  }
}

/** Knows one function, `known.thing`. */
const world: PickleWorld = {
  global: (module, name) => (module === 'known' && name === 'thing' ? new Thing() : undefined),
  call: (callee, { items }) => (callee instanceof Thing ? new Thing(items) : undefined),
  persistent: (id) => new Thing([id]),
  takesState: () => false,
};

const read = (...pieces: (string | Uint8Array)[]) =>
  plain(
    readPickle(
      pickle.file(...pieces.map((piece) => (typeof piece === 'string' ? pickle.op(piece) : piece))),
      world,
      'p',
    ),
  );

/** Values as JavaScript would have them. */
function plain(value: PickleValue): unknown {
  if (value instanceof PickleTuple || value instanceof PickleList) return value.items.map(plain);
  if (value instanceof PickleDict)
    return Object.fromEntries([...value.entries].map(([key, item]) => [key, plain(item)]));
  return value instanceof Thing ? { thing: value.args.map(plain) } : value;
}

describe('pickles', () => {
  it('makes what torch.save writes of numbers, text and containers', () => {
    assert.equal(read('N'), null);
    assert.deepEqual(read('(\x88\x89t'), [true, false]);
    assert.deepEqual(read('(K\xffM\x01\x02J\xfe\xff\xff\xfft'), [255, 513, -2]);
    assert.deepEqual(read('(\x8a\x00\x8a\x01\xff\x8a\x05\x00\x00\x00\x00\x01t'), [0, -1, 2 ** 32]);
    assert.equal(read('\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x40'), 2n ** 70n);
    assert.equal(read('G\x3f\xf8\x00\x00\x00\x00\x00\x00'), 1.5);
    assert.equal(read(pickle.text('žluť 🦊')), 'žluť 🦊');
    assert.equal(read('\x8c\x02hi'), 'hi');
    assert.equal(read('\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi'), 'hi');
    assert.deepEqual(read(')'), []);
    assert.deepEqual(read('K\x01\x85'), [1]);
    assert.deepEqual(read('K\x01K\x02\x86'), [1, 2]);
    assert.deepEqual(read('K\x01K\x02K\x03\x87'), [1, 2, 3]);
    assert.deepEqual(read(']K\x01a(K\x02K\x03e'), [1, 2, 3]);
    assert.deepEqual(read('}K\x01K\x02s(K\x03K\x04u'), { 1: 2, 3: 4 });
  });

  it('remembers values, and frames are nothing to it', () => {
    assert.deepEqual(
      read('\x95\xff\x00\x00\x00\x00\x00\x00\x00(\x8c\x01aq\x07h\x07r\x00\x01\x00\x00j\x00\x01\x00\x00t'),
      ['a', 'a', 'a'],
    );
    assert.deepEqual(read('(\x8c\x01a\x94\x8c\x01b\x94h\x00h\x01t'), ['a', 'b', 'a', 'b']);
  });

  it('globals, calls and persistent ids are what the world makes of them', () => {
    assert.deepEqual(read('cknown\nthing\nK\x01\x85R'), { thing: [1] });
    assert.deepEqual(read('\x8c\x05known\x8c\x05thing\x93K\x01\x85R'), { thing: [1] });
    assert.deepEqual(read('K\x05Q'), { thing: [5] });
  });

  const code = 'the file was rejected, because such a file can run code when Python loads it';
  const hostile: readonly (readonly [string, string, string, number])[] = [
    ['a global', 'cposix\nsystem\n', 'names "posix.system"', 2],
    ['a global of protocol 4', '\x8c\x05posix\x8c\x06system\x93', 'names "posix.system"', 17],
    ['a global that drives the terminal', 'cposix\n\x1b[2Jsystem\n', '"posix.\\u001b[2Jsystem"', 2],
    ['a global with a long name', `c${'x'.repeat(10_000)}\ny\n`, 'a string of 10002 characters', 2],
    ['a call of something that was made', 'K\x01)R', 'calls 1', 5],
    ['a call of a text', '\x8c\x02os)R', 'calls "os"', 7],
    ['a call without arguments', 'cknown\nthing\nK\x01R', 'calls a thing', 17],
    ['a state', 'cknown\nthing\n}b', 'changes the state of a thing', 16],
    ['INST', '(iposix\nsystem\n', 'INST', 3],
    ['OBJ', '(cknown\nthing\no', 'OBJ', 16],
    ['NEWOBJ', 'cknown\nthing\n)\x81', 'NEWOBJ', 16],
    ['NEWOBJ_EX', 'cknown\nthing\n)}\x92', 'NEWOBJ_EX', 17],
    ['EXT1', '\x82\x01', 'EXT1', 2],
    ['PERSID', 'Pstorage\n', 'PERSID', 2],
    ['DUP', 'N2', 'DUP', 3],
    ['POP', 'N0', 'POP', 3],
    ['bytes', 'C\x01a', 'SHORT_BINBYTES', 2],
    ['an out-of-band buffer', '\x97', 'NEXT_BUFFER', 2],
    ['a set', '\x8f', 'EMPTY_SET', 2],
    ['no instruction at all', '\xff', '0xff', 2],
  ];
  for (const [what, program, message, at] of hostile) {
    it(`rejects ${what}, naming it and its place`, () => {
      assert.throws(() => read(program), sanaError('ERR_SANA_MODEL', `p: byte ${at}: `, message, code));
    });
  }

  const damaged: readonly (readonly [string, string, string])[] = [
    ['a text that is cut off', 'X\x05\x00\x00\x00abc', 'cut off'],
    ['a text of 4 GB', 'X\xff\xff\xff\xff', 'cut off'],
    ['a text of 2^64 - 1 bytes', '\x8d\xff\xff\xff\xff\xff\xff\xff\xff', 'cut off'],
    ['a text that is not UTF-8', '\x8c\x01\xff', 'not UTF-8'],
    ['a global that is cut off', 'cknown\nthing', 'cut off'],
    ['an integer that is cut off', '\x8a\x09', 'cut off'],
    ['nothing', '', 'empty stack'],
    ['values that are left over', 'NN', 'before it is complete'],
    ['a mark that is left open', '(N', 'before it is complete'],
    ['a mark that was not set', 'Nt', 'did not open'],
    ['a pair of one', 'N\x86', 'empty stack'],
    ['a value from beyond the mark', 'N(\x85', 'empty stack'],
    ['an unknown memory', 'h\x05', 'not remembered'],
    ['a memory of nothing', 'q\x00', 'empty stack'],
    ['an item for no list', '}Na', 'not to a list'],
    ['a pair for no dictionary', ']NNs', 'not of a dictionary'],
    ['a key without a value', '}(K\x01u', 'has no value'],
    ['a key that is a tuple', '})Ns', 'a tuple'],
    ['a key that appears twice', '}(K\x01NK\x01Nu', '1 appears twice'],
    ['a name that is no text', 'K\x01K\x02\x93', 'no name'],
    ['a protocol in the middle', '\x80\x02N', 'protocol 2'],
    ['depth', '('.repeat(257), 'nested more than 256 deep'],
  ];
  for (const [what, program, message] of damaged) {
    it(`rejects ${what}`, () => {
      assert.throws(() => read(program), sanaError('ERR_SANA_MODEL', 'p: byte ', message));
    });
  }

  it('rejects steps before the first and after the last', () => {
    const pickled = (text: string) => readPickle(pickle.op(text), world, 'p');
    assert.throws(() => pickled('N.'), sanaError('ERR_SANA_MODEL', 'does not start'));
    assert.throws(() => pickled(''), sanaError('ERR_SANA_MODEL', 'cut off'));
    assert.throws(() => pickled('\x80\x02N.N'), sanaError('ERR_SANA_MODEL', 'after its end'));
    for (const protocol of ['\x00', '\x01', '\x05', '\xff']) {
      assert.throws(() => pickled(`\x80${protocol}N.`), sanaError('ERR_SANA_MODEL', 'protocol'));
    }
  });

  it('ends soon and stays small with what is made to be large', () => {
    const start = cpuTime();
    const many = (text: string, count: number) => () => read(Buffer.alloc(count * text.length, text, 'latin1'));
    assert.throws(many('}', 4_000_000), sanaError('ERR_SANA_MODEL', 'more than 1000000 objects'));
    assert.throws(many('N', 5_000_001), sanaError('ERR_SANA_MODEL', 'more than 5000000 instructions'));
    assert.throws(many('N', 65 * 1024 * 1024), sanaError('ERR_SANA_MODEL', 'more than the 67108864 that are read'));
    // A list that contains itself, and tuples of tuples: created, and never traversed.
    assert.doesNotThrow(() => readPickle(pickle.file(pickle.op(']q\x00h\x00a')), world, 'p'));
    assert.doesNotThrow(() => readPickle(pickle.file(pickle.op(`N${'\x85'.repeat(900_000)}`)), world, 'p'));
    const doubling = `N${'q\x00h\x00\x86'.repeat(10_000)}`;
    assert.doesNotThrow(() => readPickle(pickle.file(pickle.op(doubling)), world, 'p'));
    assert.ok(cpuTime() - start < 8000);
  });
});
