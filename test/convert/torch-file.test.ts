import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { SanaError } from '../../lib/base/errors.ts';
import { readSafetensors } from '../../lib/checkpoint/safetensors.ts';
import { readSource } from '../../lib/convert/source.ts';
import type { SourceTensor } from '../../lib/convert/source-tensor.ts';
import { cpuTime } from '../support/cpu-time.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, openFile } from '../support/files.ts';
import { memoryFile } from '../support/memory-file.ts';
import { mutate, random } from '../support/random.ts';
import { pickle, torchEntries, torchFile, zipFile } from '../support/torch-writer.ts';

const torch = (...name: string[]) => fixture('torch', ...name);
const load = (bytes: Uint8Array) => readSource(memoryFile(bytes), 'trained');

/** A tensor's bytes, read in small pieces. */
async function bytesOf(tensor: SourceTensor, first = 0, count = tensor.elements, pieceBytes = 20): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of tensor.read(first, count, pieceBytes)) {
    assert.ok(piece.length > 0 && piece.length % tensor.elementBytes === 0);
    assert.ok(piece.length <= Math.max(pieceBytes, tensor.elementBytes));
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** What torch saved together with the file. */
async function assertHolds(tensors: ReadonlyMap<string, SourceTensor>, expected: string): Promise<void> {
  const whole = readFileSync(expected);
  const header = await readSafetensors(memoryFile(whole, expected));
  assert.deepEqual([...tensors.keys()].sort(), [...header.tensors.keys()].sort());
  for (const [name, entry] of header.tensors) {
    const tensor = tensors.get(name);
    assert.ok(tensor !== undefined);
    assert.deepEqual([tensor.shape, tensor.dtype, tensor.storedDType], [entry.shape, entry.dtype, entry.storedDType]);
    assert.deepEqual(await bytesOf(tensor), whole.subarray(entry.offset, entry.offset + entry.bytes), name);
  }
}

describe('torch files', () => {
  const files = readdirSync(torch()).filter((name) => name.endsWith('.pth'));
  for (const name of files) {
    it(`reads what torch wrote: ${name}`, async () => {
      const file = openFile(torch(name));
      const { tensors, others } = await readSource(file, 'trained');
      await assertHolds(tensors, torch(name.replace('.pth', '.safetensors')));
      assert.deepEqual(others, name === 'parameters.pth' ? ['version'] : []);
      file.close();
    });
  }

  it('uses the moving average if requested, and reports if there is none', async () => {
    const nested = openFile(torch('nested.pth'));
    await assertHolds((await readSource(nested, 'ema')).tensors, torch('nested.ema.safetensors'));
    nested.close();
    for (const name of ['plain.pth', 'plain.safetensors']) {
      const file = openFile(torch(name));
      await assert.rejects(readSource(file, 'ema'), (error: unknown) => {
        assert.match((error as SanaError).hint, /Leave out --ema/);
        return sanaError('ERR_SANA_MODEL', torch(name))(error);
      });
      file.close();
    }
  });

  it('reads a safetensors file the same way', async () => {
    const file = openFile(torch('mixed.safetensors'));
    await assertHolds((await readSource(file, 'trained')).tensors, torch('mixed.safetensors'));
    file.close();
  });

  it('reads any range of a view in any order', async () => {
    const file = openFile(torch('views.pth'));
    for (const tensor of (await readSource(file, 'trained')).tensors.values()) {
      const whole = await bytesOf(tensor);
      for (let first = 0; first <= tensor.elements; first += 3) {
        const count = Math.min(7, tensor.elements - first);
        const part = whole.subarray(first * tensor.elementBytes, (first + count) * tensor.elementBytes);
        assert.deepEqual(await bytesOf(tensor, first, count), part, `${tensor.name} from ${first}`);
      }
    }
    file.close();
  });

  const code = 'the file was rejected, because such a file can run code when Python loads it';
  const refused: readonly (readonly [string, ...string[]])[] = [
    ['hostile/reduce.pth', 'reduce/data.pkl: byte 595', '"posix.system"', code],
    ['hostile/reduce4.pth', 'reduce4/data.pkl: byte 200', '"posix.system"', code],
    ['refused/numpy-state.pth', '"numpy._core.multiarray._reconstruct"', code],
    ['refused/whole-module.pth', '"__main__.Net"', code],
    ['refused/legacy.pth', 'torch.save before PyTorch 1.6'],
    ['refused/protocol5.pth', 'protocol 5'],
    ['refused/expanded.pth', '[1000, 3] with strides [0, 1]', 'overlap'],
    ['refused/bare-tensor.pth', 'holds a tensor, not a dictionary'],
    ['refused/torchscript.pth', 'is compressed'],
    ['refused/deflated.pth', 'is compressed (method 8)'],
  ];
  for (const [name, ...parts] of refused) {
    it(`rejects ${name}`, async () => {
      const path = torch(...name.split('/'));
      const file = openFile(path);
      await assert.rejects(readSource(file, 'trained'), sanaError('ERR_SANA_MODEL', path, ...parts));
      file.close();
    });
  }

  describe('with false statements', () => {
    const storage = new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6]).buffer);
    const floats = pickle.storage('FloatStorage', '0', 6);
    const one = (tensor: Uint8Array, storages = [storage]) =>
      zipFile(torchEntries(pickle.file(pickle.dict(pickle.text('w'), tensor)), storages));
    const entriesOf = (change: (name: string, data: Uint8Array) => Uint8Array | null) =>
      zipFile(
        torchEntries(pickle.file(pickle.dict(pickle.text('w'), pickle.tensor(floats, 0, [6]))), [storage]).flatMap(
          ({ name, data }) => {
            const changed = change(name, data);
            return changed === null ? [] : [{ name, data: changed }];
          },
        ),
      );
    const rebuild = (...args: Uint8Array[]) =>
      pickle.call(pickle.global('torch._utils', '_rebuild_tensor_v2'), pickle.tuple(...args));
    const ints = (...values: number[]) => pickle.tuple(...values.map(pickle.integer));
    const [no, none, empty, hooks] = ['\x89', 'N', '}', 'ccollections\nOrderedDict\n)R'].map(pickle.op) as [
      Buffer,
      Buffer,
      Buffer,
      Buffer,
    ];

    it('reads one with true statements', async () => {
      const { tensors } = await load(one(pickle.tensor(floats, 1, [2, 2])));
      assert.deepEqual([...tensors.keys()], ['w']);
      assert.equal(
        (await load(one(rebuild(floats, pickle.integer(0), ints(6), ints(1), no, hooks, none)))).tensors.size,
        1,
      );
      assert.equal((await load(one(rebuild(floats, pickle.integer(0), ints(6), ints(1), no, empty)))).tensors.size, 1);
      assert.equal((await load(entriesOf((name, data) => (name.endsWith('order') ? null : data)))).tensors.size, 1);
    });

    const wrong: readonly (readonly [string, Uint8Array, string])[] = [
      ['a tensor larger than its storage', one(pickle.tensor(floats, 0, [7])), 'extends beyond its storage of 6'],
      ['a tensor that starts too late', one(pickle.tensor(floats, 1, [6])), 'extends beyond'],
      ['a tensor that starts before its storage', one(pickle.tensor(floats, -1, [2])), 'not described as'],
      ['a tensor that strides too far', one(pickle.tensor(floats, 0, [2, 3], [4, 1])), 'extends beyond'],
      ['strides below zero', one(pickle.tensor(floats, 5, [6], [-1])), 'not described as'],
      ['strides of another rank', one(pickle.tensor(floats, 0, [2, 3], [1])), 'not described as'],
      ['an element that appears twice', one(pickle.tensor(floats, 0, [2, 3], [1, 1])), 'overlap'],
      ['one element a million times', one(pickle.tensor(floats, 0, [1_000_000], [0])), 'overlap'],
      ['a size of 2^62', one(pickle.tensor(floats, 0, [2 ** 62])), 'not described as'],
      ['a shape whose product overflows', one(pickle.tensor(floats, 0, [2 ** 40, 2 ** 40])), 'extends beyond'],
      ['17 dimensions', one(pickle.tensor(floats, 0, Array(17).fill(1))), 'not described as'],
      [
        'a size that is a text',
        one(rebuild(floats, pickle.integer(0), pickle.tuple(pickle.text('6')), ints(1), no, empty)),
        'not described',
      ],
      [
        'a tensor with hooks',
        one(rebuild(floats, pickle.integer(0), ints(6), ints(1), no, pickle.dict(pickle.text('a'), none))),
        'not described',
      ],
      [
        'a tensor with metadata',
        one(rebuild(floats, pickle.integer(0), ints(6), ints(1), no, empty, empty)),
        'not described',
      ],
      [
        'a tensor of a tensor',
        one(rebuild(pickle.tensor(floats, 0, [6]), pickle.integer(0), ints(6), ints(1), no, empty)),
        'not described',
      ],
      ['a tensor without arguments', one(rebuild()), 'not described'],
      [
        'a parameter of nothing',
        one(pickle.call(pickle.global('torch._utils', '_rebuild_parameter'), pickle.tuple(none, no, empty))),
        'a parameter',
      ],
      [
        'a dictionary made with arguments',
        one(pickle.call(pickle.global('collections', 'OrderedDict'), ints(1))),
        'with arguments',
      ],
      [
        'a storage that is called',
        one(pickle.call(pickle.global('torch', 'FloatStorage'), pickle.op(')'))),
        'it calls torch.FloatStorage',
      ],
      [
        'another rebuild function',
        one(pickle.global('torch._utils', '_rebuild_tensor_v3')),
        '"torch._utils._rebuild_tensor_v3"',
      ],
      [
        'an attribute of a module',
        one(pickle.global('torch', '_utils._rebuild_tensor_v2')),
        '"torch._utils._rebuild_tensor_v2"',
      ],
      ['a state for a plain dictionary', one(pickle.op('}}b')), 'changes the state of a dictionary'],
      [
        'a storage longer than its entry',
        one(pickle.tensor(pickle.storage('FloatStorage', '0', 7), 0, [7])),
        'should have 28 bytes',
      ],
      [
        'a storage shorter than its entry',
        one(pickle.tensor(pickle.storage('HalfStorage', '0', 6), 0, [6])),
        'should have 12 bytes',
      ],
      [
        'a storage of 2^53 elements',
        one(pickle.tensor(pickle.storage('FloatStorage', '0', 2 ** 53 - 1), 0, [6])),
        'should have',
      ],
      ['a storage below zero', one(pickle.tensor(pickle.storage('FloatStorage', '0', -6), 0, [6])), '-6 elements'],
      [
        'a storage that is not there',
        one(pickle.tensor(pickle.storage('FloatStorage', '1', 6), 0, [6])),
        '"archive/data/1" is missing',
      ],
      ['a storage outside', one(pickle.tensor(pickle.storage('FloatStorage', '../data.pkl', 6), 0, [6])), 'is missing'],
      ['a storage in two types', one(pickle.tuple(floats, pickle.storage('IntStorage', '0', 6))), 'two ways'],
      ['a storage of an unknown type', one(pickle.storage('QInt8Storage', '0', 24)), '"torch.QInt8Storage"'],
      ['a persistent id of something else', one(pickle.op('K\x01Q')), 'not that of a storage'],
      [
        'a name that appears twice',
        zipFile(torchEntries(pickle.file(pickle.dict(pickle.text('w'), none, pickle.text('w'), none)))),
        '"w" appears twice',
      ],
      [
        'a pickle that is cut off',
        entriesOf((name, data) => (name.endsWith('pkl') ? data.subarray(0, 40) : data)),
        'cut off',
      ],
      [
        'a big-endian file',
        entriesOf((name, data) => (name.endsWith('order') ? Buffer.from('big') : data)),
        'big-endian',
      ],
      [
        'an unknown byte order',
        entriesOf((name, data) => (name.endsWith('order') ? Buffer.from('pdp') : data)),
        '"pdp"',
      ],
      ['no pickle', entriesOf((name, data) => (name.endsWith('pkl') ? null : data)), 'there is no data.pkl'],
      [
        'two pickles',
        zipFile([...torchEntries(pickle.file(empty)), { name: 'other/data.pkl', data: pickle.file(empty) }]),
        '2 pickles',
      ],
      [
        'TorchScript',
        zipFile([...torchEntries(pickle.file(empty)), { name: 'archive/constants.pkl', data: empty }]),
        'TorchScript',
      ],
      ['a list', zipFile(torchEntries(pickle.file(pickle.op(']')))), 'holds a list'],
      ['a number', zipFile(torchEntries(pickle.file(pickle.op('K\x01')))), 'holds 1'],
      [
        'a state_dict that is none',
        zipFile(torchEntries(pickle.file(pickle.dict(pickle.text('state_dict'), none)))),
        'holds null as state_dict',
      ],
      ['a zip file of something else', zipFile([{ name: 'a.txt', data: Buffer.from('a') }]), 'there is no data.pkl'],
      ['an empty file', Buffer.alloc(0), 'is 0 bytes long'],
      ['text', Buffer.from('<!DOCTYPE html><html></html>'), 'is text'],
      [
        'a Git LFS pointer',
        Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n'),
        'Git LFS pointer',
      ],
      [
        'code that is never executed',
        zipFile(
          torchEntries(pickle.file(pickle.call(pickle.global('os', 'system'), pickle.tuple(pickle.text('true'))))),
        ),
        '"os.system"',
      ],
    ];
    for (const [what, bytes, message] of wrong) {
      it(`rejects ${what}`, async () => {
        await assert.rejects(load(bytes), sanaError('ERR_SANA_MODEL', 'file.pth', message));
      });
    }
  });

  it('a safetensors header of 640 bytes is not taken for a pickle, which starts with the same two', async () => {
    const json = JSON.stringify({ w: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } }).padEnd(640);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(640n);
    const { tensors } = await load(Buffer.concat([length, Buffer.from(json), Buffer.alloc(4)]));
    assert.deepEqual([...tensors.keys()], ['w']);
  });

  /** Reads everything there is; a `SanaError` is an answer too. Nothing is ever read outside the file: see memoryFile. */
  async function outcome(bytes: Uint8Array): Promise<'read' | 'refused'> {
    try {
      for (const tensor of (await load(bytes)).tensors.values()) {
        assert.equal(
          (await bytesOf(tensor, 0, tensor.elements, 1 << 16)).length,
          tensor.elements * tensor.elementBytes,
        );
      }
      return 'read';
    } catch (error) {
      assert.ok(error instanceof SanaError, String(error));
      assert.ok(error.code === 'ERR_SANA_MODEL' && error.hint.length > 0);
      return 'refused';
    }
  }

  it('rejects a file that is truncated anywhere', async () => {
    for (const name of ['nested.pth', 'repacked.pth']) {
      const whole = readFileSync(torch(name));
      for (let length = 0; length < whole.length; length++) {
        assert.equal(await outcome(whole.subarray(0, length)), 'refused', `${name} after ${length} bytes`);
      }
    }
  });

  it('5000 mutants of files are read or rejected quickly', async () => {
    const next = random(7);
    const start = cpuTime();
    const originals = ['nested.pth', 'views.pth', 'protocol4.pth', 'repacked.pth', 'hostile/reduce.pth'];
    const wholes = originals.map((name) => readFileSync(torch(...name.split('/'))));
    let read = 0;
    for (let i = 0; i < 5000; i++) {
      if ((await outcome(mutate(wholes[i % wholes.length] ?? Buffer.alloc(0), next))) === 'read') read++;
    }
    assert.ok(read > 100 && read < 4000, `${read} were read`);
    assert.ok(cpuTime() - start < 30_000);
  });

  it('5000 mutants of a pickle in an intact zip file are read or rejected quickly', async () => {
    const next = random(8);
    const start = cpuTime();
    const tensors = new Map([
      ['a', { shape: [2, 3], data: new Float32Array(6) }],
      ['b', { shape: [4], data: new Uint16Array(4) }],
    ]);
    const whole = torchFile(tensors, { key: 'state_dict' });
    const from = whole.indexOf('\x80\x02', 0, 'latin1');
    const original = whole.subarray(from, whole.indexOf('PK\x07\x08', from, 'latin1'));
    let read = 0;
    for (let i = 0; i < 5000; i++) {
      const storages = [new Uint8Array(24), new Uint8Array(8)];
      if ((await outcome(zipFile(torchEntries(mutate(original, next), storages)))) === 'read') read++;
    }
    assert.ok(read > 20 && read < 4000, `${read} were read`);
    assert.ok(cpuTime() - start < 30_000);
  });
});
