import assert from 'node:assert/strict';
import { readZipDirectory } from '../../lib/convert/zip.ts';
import { sanaError } from '../support/errors.ts';
import { memoryFile } from '../support/memory-file.ts';
import { type ZipContent, type ZipOptions, zipFile } from '../support/torch-writer.ts';

const text = (value: string) => Buffer.from(value);
const two: readonly ZipContent[] = [
  { name: 'a/first', data: text('one') },
  { name: 'a/second', data: text('three') },
];
const read = (bytes: Uint8Array) => readZipDirectory(memoryFile(bytes));

describe('zip directories', () => {
  for (const options of [{}, { zip64: true }] satisfies ZipOptions[]) {
    it(`finds every entry's bytes${options.zip64 ? ', by 64-bit sizes and offsets' : ''}`, async () => {
      const bytes = zipFile([...two, { name: 'a/ž', data: text('') }], options);
      const entries = await read(bytes);
      assert.deepEqual([...entries.keys()].sort(), ['a/first', 'a/second', 'a/ž']);
      for (const { name, data } of two) {
        const { offset = 0, bytes: size } = entries.get(name) ?? {};
        assert.equal(offset % 64, 0);
        assert.deepEqual(bytes.subarray(offset, offset + (size ?? 0)), data);
      }
      assert.equal(entries.get('a/ž')?.bytes, 0);
    });
  }

  it('reads sizes that precede the data', async () => {
    const bytes = zipFile(two.map((entry) => ({ ...entry, flags: 0 })));
    assert.equal((await read(bytes)).get('a/second')?.bytes, 5);
  });

  it('reads an empty zip file', async () => {
    assert.equal((await read(zipFile([]))).size, 0);
  });

  const changed = (at: 0 | 1, change: Partial<ZipContent>) =>
    zipFile(two.map((entry, i) => (i === at ? { ...entry, ...change } : entry)));
  const ended = (at: number, value: number) => zipFile(two, { changeEnd: (end) => end.writeUInt16LE(value, at) });
  const patched = (change: (bytes: Buffer) => void) => {
    const bytes = zipFile(two, { zip64: true });
    change(bytes);
    return bytes;
  };
  const refused: readonly (readonly [string, Uint8Array, string])[] = [
    ['an empty file', Buffer.alloc(0), 'does not end like a zip file'],
    ['bytes after the end', Buffer.concat([zipFile(two), Buffer.alloc(1)]), 'something was added'],
    ['a comment, which could be another zip file', ended(20, 5), 'something was added'],
    ['a compressed entry', changed(0, { method: 8 }), 'is compressed (method 8)'],
    ['an encrypted entry', changed(0, { flags: 0x0809 }), 'is encrypted'],
    ['two entries of one name', changed(1, { name: 'a/first' }), '"a/first" appears twice'],
    [
      'an entry that the header before it names otherwise',
      changed(0, { localName: 'a/other' }),
      'contradicts the directory',
    ],
    ['an entry that is longer in the header before it', changed(0, { localBytes: 4 }), 'contradicts the directory'],
    ['an entry that reaches into the next one', changed(0, { directoryBytes: 40 }), 'overlaps'],
    ['an entry that reaches into the directory', changed(1, { directoryBytes: 100 }), 'extends into the directory'],
    ['two entries in one place', changed(1, { directoryOffset: 0 }), 'overlaps'],
    ['an entry that is not there', changed(1, { directoryOffset: 1 }), 'overlaps'],
    ['an entry beyond the end', changed(1, { directoryOffset: 4_000_000_000 }), 'not inside the file'],
    ['an entry without a name', changed(0, { name: '' }), 'directory is damaged'],
    ['a name that is not UTF-8', changed(0, { name: 'a/first', localName: 'x' }), 'contradicts the directory'],
    ['a file in several parts', ended(4, 1), 'several parts'],
    ['fewer entries here than in all', ended(8, 1), 'several parts'],
    ['two records that contradict each other', ended(10, 1), 'contradict'],
    ['a directory that starts later', ended(16, 1), 'contradict'],
    ['a zip64 record that is not where it should be', patched((b) => b.writeUInt8(1, b.length - 22 - 20 + 8)), 'zip64'],
    [
      'more entries than any file has',
      patched((b) => {
        const record = b.length - 22 - 20 - 56;
        b.writeBigUInt64LE(2n ** 60n, record + 24);
        b.writeBigUInt64LE(2n ** 60n, record + 32);
      }),
      'at most 100000 are read',
    ],
    [
      'a directory of 2^63 bytes',
      patched((b) => b.writeBigUInt64LE(2n ** 63n, b.length - 22 - 20 - 56 + 40)),
      'at most 100000 are read',
    ],
  ];
  for (const [what, bytes, message] of refused) {
    it(`rejects ${what}`, async () => {
      await assert.rejects(read(bytes), sanaError('ERR_SANA_MODEL', 'file.pth', message));
    });
  }

  it('rejects a missing 64-bit size', async () => {
    const bytes = zipFile(two);
    const directory = bytes.lastIndexOf('PK\x01\x02');
    bytes.writeUInt32LE(0xffffffff, directory + 20);
    await assert.rejects(read(bytes), sanaError('ERR_SANA_MODEL', 'contradict each other'));
  });
});
