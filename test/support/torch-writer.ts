/** Torch files written in tests: a zip file of stored entries and a pickle, each of which may be made wrong on purpose. */

export interface ZipContent {
  readonly name: string;
  readonly data: Uint8Array;
  /** What the headers say where they should not say what is true. */
  readonly method?: number;
  readonly flags?: number;
  readonly localName?: string;
  readonly localBytes?: number;
  readonly directoryBytes?: number;
  readonly directoryOffset?: number;
}

export interface ZipOptions {
  /** Take sizes and offsets from zip64 fields, as for files above 4 GB. */
  readonly zip64?: boolean;
  /** Changes the last record of 22 bytes. */
  readonly changeEnd?: (end: Buffer) => void;
}

const u16 = (value: number) => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
};
const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

/** A zip file laid out as torch's: sizes after the data, data at multiples of 64 bytes. */
export function zipFile(contents: readonly ZipContent[], { zip64 = false, changeEnd }: ZipOptions = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  const add = (...bytes: Buffer[]) => {
    parts.push(...bytes);
    for (const { length } of bytes) at += length;
  };
  for (const { name, data, method = 0, flags = 0x0808, ...wrong } of contents) {
    const offset = at;
    const local = Buffer.from(wrong.localName ?? name);
    const padding = (64 - ((offset + 30 + local.length + 4) % 64)) % 64;
    const localBytes = u32(wrong.localBytes ?? ((flags & 8) === 0 ? data.length : 0));
    const dates = Buffer.alloc(4);
    add(Buffer.from('PK\x03\x04'), u16(0), u16(flags), u16(method), dates, u32(0), localBytes, localBytes);
    add(u16(local.length), u16(4 + padding), local, Buffer.from('FB'), u16(padding), Buffer.alloc(padding, 'Z'));
    add(Buffer.from(data));
    if ((flags & 8) !== 0) add(Buffer.from('PK\x07\x08'), u32(0), u32(data.length), u32(data.length));
    const bytes = wrong.directoryBytes ?? data.length;
    const start = wrong.directoryOffset ?? offset;
    const size = u32(zip64 ? 0xffffffff : bytes);
    const extra = zip64 ? Buffer.concat([u16(1), u16(24), u64(bytes), u64(bytes), u64(start)]) : Buffer.alloc(0);
    const stored = Buffer.from(name);
    directory.push(
      ...[Buffer.from('PK\x01\x02'), u16(0), u16(0), u16(flags), u16(method), dates, u32(0), size, size],
      ...[u16(stored.length), u16(extra.length), u16(0), u16(0), u16(0), u32(0)],
      ...[u32(zip64 ? 0xffffffff : start), stored, extra],
    );
  }
  const start = at;
  add(...directory);
  const bytes = at - start;
  const count = contents.length;
  const zip64End = at;
  add(
    Buffer.from('PK\x06\x06'),
    u64(44),
    u16(45),
    u16(45),
    u32(0),
    u32(0),
    u64(count),
    u64(count),
    u64(bytes),
    u64(start),
  );
  add(Buffer.from('PK\x06\x07'), u32(0), u64(zip64End), u32(1));
  const end = Buffer.concat([
    ...[Buffer.from('PK\x05\x06'), u16(0), u16(0), u16(zip64 ? 0xffff : count), u16(zip64 ? 0xffff : count)],
    ...[u32(zip64 ? 0xffffffff : bytes), u32(zip64 ? 0xffffffff : start), u16(0)],
  ]);
  changeEnd?.(end);
  add(end);
  return Buffer.concat(parts);
}

/** Pieces of a pickle of protocol 2. */
export const pickle = {
  file: (...pieces: Uint8Array[]) => Buffer.concat([Buffer.from([0x80, 2]), ...pieces, Buffer.from('.')]),
  op: (text: string) => Buffer.from(text, 'latin1'),
  text: (value: string) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([Buffer.from('X'), u32(bytes.length), bytes]);
  },
  integer: (value: number) => {
    const bytes = Buffer.from('J....');
    if (value === (value | 0)) {
      bytes.writeInt32LE(value, 1);
      return bytes;
    }
    const long = Buffer.alloc(10);
    long.write('\x8a\x08', 'latin1');
    long.writeBigInt64LE(BigInt(value), 2);
    return long;
  },
  global: (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`),
  tuple: (...items: Uint8Array[]) => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]),
  dict: (...items: Uint8Array[]) => Buffer.concat([Buffer.from('}('), ...items, Buffer.from('u')]),
  call: (callee: Uint8Array, args: Uint8Array) => Buffer.concat([callee, args, Buffer.from('R')]),
  storage: (type: string, key: string, elements: number) =>
    Buffer.concat([
      pickle.tuple(
        pickle.text('storage'),
        pickle.global('torch', type),
        pickle.text(key),
        pickle.text('cpu'),
        pickle.integer(elements),
      ),
      Buffer.from('Q'),
    ]),
  tensor: (storage: Uint8Array, offset: number, shape: readonly number[], strides = rowMajor(shape)) =>
    pickle.call(
      pickle.global('torch._utils', '_rebuild_tensor_v2'),
      pickle.tuple(
        storage,
        pickle.integer(offset),
        pickle.tuple(...shape.map(pickle.integer)),
        pickle.tuple(...strides.map(pickle.integer)),
        Buffer.from([0x89]),
        pickle.call(pickle.global('collections', 'OrderedDict'), Buffer.from(')')),
      ),
    ),
} as const;

export function rowMajor(shape: readonly number[]): number[] {
  return shape.map((_, i) => shape.slice(i + 1).reduce((product, size) => product * size, 1));
}

/** The entries of a torch file around a pickle and its storages. */
export function torchEntries(data: Uint8Array, storages: readonly Uint8Array[] = []): ZipContent[] {
  return [
    { name: 'archive/data.pkl', data },
    { name: 'archive/byteorder', data: Buffer.from('little') },
    ...storages.map((storage, i) => ({ name: `archive/data/${i}`, data: storage })),
    { name: 'archive/version', data: Buffer.from('3\n') },
  ];
}

export interface TensorContent {
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint16Array; // 16 bits: see `half`
}

/** A torch file of `{ [key]: { name: tensor, ... } }`, or of the tensors alone. */
export function torchFile(
  tensors: ReadonlyMap<string, TensorContent>,
  { key, half = 'BFloat16Storage', zip64 = false }: { key?: string; half?: string; zip64?: boolean } = {},
): Buffer {
  const storages: Uint8Array[] = [];
  const items = [...tensors].flatMap(([name, { shape, data }]) => {
    const type = data instanceof Float32Array ? 'FloatStorage' : half;
    const storage = pickle.storage(type, String(storages.length), data.length);
    storages.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return [pickle.text(name), pickle.tensor(storage, 0, shape)];
  });
  const state = pickle.dict(...items);
  const root =
    key === undefined ? state : pickle.dict(pickle.text(key), state, pickle.text('epoch'), pickle.integer(3));
  return zipFile(torchEntries(pickle.file(root), storages), { zip64 });
}
