/**
 * The objects that the pickle in a torch file may describe: storages, tensors that are views of them, and dictionaries.
 *
 * `torch.save` writes a tensor as a call of `torch._utils._rebuild_tensor_v2` with a storage, an offset, sizes and
 * strides, and a storage as the persistent id `('storage', torch.FloatStorage, key, location, elements)`, whose bytes
 * are the zip entry `data/<key>` (torch/serialization.py, torch/_utils.py). A tensor is accepted only if all of its
 * elements are inside its storage and no two of them overlap.
 */

import { dtypes } from '../base/dtypes.ts';
import { modelError } from '../base/model-error.ts';
import type { TensorDType } from '../checkpoint/safetensors.ts';
import {
  describePickle,
  type Fail,
  PickleDict,
  PickleObject,
  PickleTuple,
  type PickleValue,
  type PickleWorld,
} from './pickle.ts';
import type { ZipEntry } from './zip.ts';

/** An element type, by the class of its storage. */
export interface StorageType {
  readonly dtype: TensorDType;
  readonly storedDType: string; // as safetensors spells it
  readonly elementBytes: number;
}

const STORAGE_TYPES: ReadonlyMap<string, StorageType> = new Map(
  (
    [
      ...(
        [
          ['FloatStorage', 'f32'],
          ['BFloat16Storage', 'bf16'],
          ['HalfStorage', 'f16'],
          ['IntStorage', 'i32'],
          ['ByteStorage', 'u8'],
        ] as const
      ).map(([name, dtype]) => [name, dtype, dtypes[dtype].stored, dtypes[dtype].bytes] as const),
      ['DoubleStorage', 'other', 'F64', 8],
      ['LongStorage', 'other', 'I64', 8],
      ['ShortStorage', 'other', 'I16', 2],
      ['CharStorage', 'other', 'I8', 1],
      ['BoolStorage', 'other', 'BOOL', 1],
    ] as const
  ).map(([name, dtype, storedDType, elementBytes]) => [name, { dtype, storedDType, elementBytes }]),
);

const SAVE_CONTIGUOUS = 'Save it with .contiguous() in Python.';
const MAX_RANK = 16;
const MAX_TENSORS = 100_000;

class StorageClass extends PickleObject {
  readonly kind: string;
  readonly type: StorageType;

  constructor(name: string, type: StorageType) {
    super();
    this.kind = `torch.${name}`;
    this.type = type;
  }
}

/** A function that is known by name, and never executed. */
class KnownFunction extends PickleObject {
  readonly kind: string;
  readonly make: (args: readonly PickleValue[], fail: Fail) => PickleValue;

  constructor(name: string, make: (args: readonly PickleValue[], fail: Fail) => PickleValue) {
    super();
    this.kind = name;
    this.make = make;
  }
}

class TorchStorage extends PickleObject {
  readonly kind = 'a storage';
  readonly type: StorageType;
  readonly elements: number;
  readonly offset: number; // bytes from the start of the file

  constructor(type: StorageType, elements: number, offset: number) {
    super();
    this.type = type;
    this.elements = elements;
    this.offset = offset;
  }
}

/** A tensor: a view of a storage. */
export class TorchTensor extends PickleObject {
  readonly kind = 'a tensor';
  readonly type: StorageType;
  readonly shape: readonly number[];
  readonly strides: readonly number[]; // elements
  readonly elements: number;
  readonly span: number; // elements from the first to the last one that it holds
  readonly offset: number; // bytes from the start of the file

  constructor(storage: TorchStorage, first: number, shape: readonly number[], strides: readonly number[]) {
    super();
    this.type = storage.type;
    this.shape = shape;
    this.strides = strides;
    this.elements = shape.reduce((product, size) => product * size, 1);
    this.span = this.elements === 0 ? 0 : 1 + shape.reduce((sum, size, i) => sum + (size - 1) * (strides[i] ?? 0), 0);
    this.offset = storage.offset + first * storage.type.elementBytes;
  }
}

/** `collections.OrderedDict`, which holds a module's state, with the layers' versions as an attribute. */
class OrderedDict extends PickleDict {}

/** The world of a torch file: its storages are the entries `<prefix>data/<key>` of the zip file. */
export class TorchWorld implements PickleWorld {
  readonly #entries: ReadonlyMap<string, ZipEntry>;
  readonly #prefix: string;
  readonly #path: string;
  readonly #storages = new Map<string, TorchStorage>();
  readonly #globals: ReadonlyMap<string, PickleObject>;
  #tensors = 0;

  constructor(entries: ReadonlyMap<string, ZipEntry>, prefix: string, path: string) {
    this.#entries = entries;
    this.#prefix = prefix;
    this.#path = path;
    const functions = [
      new KnownFunction('collections.OrderedDict', orderedDict),
      new KnownFunction('torch._utils._rebuild_tensor_v2', (args, fail) => this.#tensor(args, fail)),
      new KnownFunction('torch._utils._rebuild_parameter', parameter),
    ];
    const classes = [...STORAGE_TYPES].map(([name, type]) => new StorageClass(name, type));
    this.#globals = new Map([...functions, ...classes].map((value) => [value.kind, value]));
  }

  global(module: string, name: string): PickleObject | undefined {
    // A dot in the wrong half would be an attribute access: 'torch' and '_utils._rebuild_tensor_v2'.
    return name.includes('.') ? undefined : this.#globals.get(`${module}.${name}`);
  }

  call(callee: PickleValue, args: PickleTuple, fail: Fail): PickleValue | undefined {
    return callee instanceof KnownFunction ? callee.make(args.items, fail) : undefined;
  }

  takesState(object: PickleValue): boolean {
    return object instanceof OrderedDict;
  }

  persistent(id: PickleValue, fail: Fail): PickleValue {
    const items = id instanceof PickleTuple ? id.items : [];
    const [tag, storageClass, key, location, elements] = items;
    const isStorage =
      items.length === 5 &&
      tag === 'storage' &&
      storageClass instanceof StorageClass &&
      typeof key === 'string' &&
      typeof location === 'string';
    if (!isStorage) throw fail('a persistent id is not that of a storage');
    if (!isCount(elements)) throw fail(`storage ${JSON.stringify(key)} has ${describePickle(elements)} elements`);
    const known = this.#storages.get(key);
    if (known !== undefined) {
      if (known.type === storageClass.type && known.elements === elements) return known;
      throw fail(`storage ${JSON.stringify(key)} is described in two ways that contradict each other`);
    }
    const name = `${this.#prefix}data/${key}`;
    const entry = this.#entries.get(name);
    if (entry === undefined) throw modelError(this.#path, `the zip entry ${JSON.stringify(name)} is missing`);
    const bytes = elements * storageClass.type.elementBytes;
    if (entry.bytes !== bytes) {
      throw fail(`storage ${JSON.stringify(key)} should have ${bytes} bytes, but its zip entry has ${entry.bytes}`);
    }
    const storage = new TorchStorage(storageClass.type, elements, entry.offset);
    this.#storages.set(key, storage);
    return storage;
  }

  /** `_rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, backward_hooks, metadata=None)` */
  #tensor(args: readonly PickleValue[], fail: Fail): TorchTensor {
    const [storage, first, sizes, steps, requiresGrad, hooks, metadata = null] = args;
    const shape = counts(sizes);
    const strides = counts(steps);
    if (
      args.length < 6 ||
      args.length > 7 ||
      !(storage instanceof TorchStorage) ||
      !isCount(first) ||
      shape === null ||
      strides?.length !== shape.length ||
      typeof requiresGrad !== 'boolean' ||
      !isEmptyDict(hooks) ||
      metadata !== null
    ) {
      throw fail('a tensor is not described as torch.save describes one');
    }
    if (++this.#tensors > MAX_TENSORS) throw fail(`it holds more than ${MAX_TENSORS} tensors`);
    const shown = `a tensor [${shape.join(', ')}] with strides [${strides.join(', ')}]`;
    if (!shape.includes(0)) {
      const span = checkedSpan(shape, strides);
      if (span === null || first + span > storage.elements) {
        throw fail(`${shown} from element ${first} extends beyond its storage of ${storage.elements}`);
      }
      if (elementsOverlap(shape, strides)) throw fail(`${shown} has elements that overlap`, SAVE_CONTIGUOUS);
    }
    return new TorchTensor(storage, first, shape, strides);
  }
}

/** `OrderedDict()`, filled by the instructions that follow. */
function orderedDict(args: readonly PickleValue[], fail: Fail): PickleValue {
  if (args.length > 0) throw fail('an OrderedDict is made with arguments');
  return new OrderedDict();
}

/** `_rebuild_parameter(data, requires_grad, backward_hooks)`: the tensor itself. */
function parameter(args: readonly PickleValue[], fail: Fail): PickleValue {
  const [tensor, requiresGrad, hooks] = args;
  if (
    args.length !== 3 ||
    !(tensor instanceof TorchTensor) ||
    typeof requiresGrad !== 'boolean' ||
    !isEmptyDict(hooks)
  ) {
    throw fail('a parameter is not described as torch.save describes one');
  }
  return tensor;
}

function isEmptyDict(value: PickleValue | undefined): boolean {
  return value instanceof PickleDict && value.entries.size === 0;
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** The numbers of a tuple of sizes or strides, or null for anything else. */
function counts(value: PickleValue | undefined): readonly number[] | null {
  if (!(value instanceof PickleTuple) || value.items.length > MAX_RANK) return null;
  return value.items.every(isCount) ? (value.items as readonly number[]) : null;
}

/** Elements from the first to the last one of a view without empty dimensions, or null beyond 2^53. */
function checkedSpan(shape: readonly number[], strides: readonly number[]): number | null {
  let span = 1;
  for (const [i, size] of shape.entries()) {
    span += (size - 1) * (strides[i] ?? 0);
    if (!Number.isSafeInteger(span)) return null;
  }
  return span;
}

/**
 * Whether elements of a view may share memory, as `expand` makes them. Such a view can be larger than its file, and no
 * weight is one. From the smallest stride up, every stride must be larger than everything that the smaller ones span.
 */
function elementsOverlap(shape: readonly number[], strides: readonly number[]): boolean {
  const dimensions = shape.map((size, i) => ({ size, stride: strides[i] ?? 0 })).filter(({ size }) => size > 1);
  dimensions.sort((a, b) => a.stride - b.stride);
  let reach = 0;
  for (const { size, stride } of dimensions) {
    if (stride <= reach) return true;
    reach += (size - 1) * stride;
  }
  return false;
}
