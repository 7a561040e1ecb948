/**
 * A pickle machine that cannot run code.
 *
 * A pickle is a program for a stack machine (the format is described in CPython's Lib/pickletools.py). Two of its
 * instructions make it dangerous: GLOBAL names any function of any Python module, and REDUCE calls it. Here, a global
 * is one of the few values that a `PickleWorld` knows, and a call is a method of it: there is nothing to look up and
 * nothing to execute. Only the instructions that `torch.save` writes for dictionaries of tensors are implemented, in
 * protocols 2 to 4; any other instruction ends the reading with an error.
 */

import type { SanaError } from '../base/errors.ts';
import { describeJson } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';

export type PickleValue = null | boolean | number | bigint | string | PickleObject;

/** Everything that is not a plain value. */
export abstract class PickleObject {
  /** What it is, for an error message. */
  abstract readonly kind: string;
}

export class PickleTuple extends PickleObject {
  readonly kind = 'a tuple';
  readonly items: readonly PickleValue[];

  constructor(items: readonly PickleValue[]) {
    super();
    this.items = items;
  }
}

export class PickleList extends PickleObject {
  readonly kind = 'a list';
  readonly items: PickleValue[] = [];
}

export class PickleDict extends PickleObject {
  readonly kind = 'a dictionary';
  readonly entries = new Map<string | number, PickleValue>();
}

/** Makes the error for a problem at the current instruction. */
export type Fail = (reason: string, hint?: string) => SanaError;

/** The meaning of globals, calls and persistent ids: the one place where a pickle's names become values. */
export interface PickleWorld {
  /** The value of `module.name`, or undefined if it is unknown. */
  global(module: string, name: string): PickleObject | undefined;
  /** The result of calling `callee`, or undefined if it cannot be called. */
  call(callee: PickleValue, args: PickleTuple, fail: Fail): PickleValue | undefined;
  /** The value of a persistent id. */
  persistent(id: PickleValue, fail: Fail): PickleValue;
  /** Whether `object` may be given a state, which is then ignored: it contains only attributes that nobody reads. */
  takesState(object: PickleValue): boolean;
}

/** A dictionary of 100 000 tensors, the maximum that is read from any file, takes 3 million steps. */
const LIMITS = { bytes: 64 * 1024 * 1024, steps: 5_000_000, containers: 1_000_000, depth: 256 } as const;

/** Instructions that are rejected, with the name that the error uses: no file of tensors needs them. */
const REFUSED: ReadonlyMap<number, string> = new Map([
  [0x50, 'PERSID'],
  [0x69, 'INST'],
  [0x6f, 'OBJ'],
  [0x81, 'NEWOBJ'],
  [0x92, 'NEWOBJ_EX'],
  [0x82, 'EXT1'],
  [0x83, 'EXT2'],
  [0x84, 'EXT4'],
  [0x30, 'POP'],
  [0x31, 'POP_MARK'],
  [0x32, 'DUP'],
  [0x49, 'INT'],
  [0x4c, 'LONG'],
  [0x46, 'FLOAT'],
  [0x53, 'STRING'],
  [0x54, 'BINSTRING'],
  [0x55, 'SHORT_BINSTRING'],
  [0x56, 'UNICODE'],
  [0x42, 'BINBYTES'],
  [0x43, 'SHORT_BINBYTES'],
  [0x8e, 'BINBYTES8'],
  [0x96, 'BYTEARRAY8'],
  [0x97, 'NEXT_BUFFER'],
  [0x98, 'READONLY_BUFFER'],
  [0x64, 'DICT'],
  [0x6c, 'LIST'],
  [0x67, 'GET'],
  [0x70, 'PUT'],
  [0x8b, 'LONG4'],
  [0x8f, 'EMPTY_SET'],
  [0x90, 'ADDITEMS'],
  [0x91, 'FROZENSET'],
]);

const COULD_RUN_CODE = 'the file was rejected, because such a file can run code when Python loads it';
const REFUSED_HINT =
  "Nothing in it was executed. Use a release in .safetensors; or, only if you trust its source, save its tensors alone in Python: torch.save({'state_dict': state_dict}, path).";

/** Runs a pickle and returns its result. `where` names it in errors, which give the offset of the faulty byte. */
export function readPickle(bytes: Uint8Array, world: PickleWorld, where: string): PickleValue {
  return new Machine(bytes, world, where).run();
}

class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #world: PickleWorld;
  readonly #where: string;
  readonly #stack: PickleValue[] = [];
  readonly #marks: number[] = []; // heights of the stack
  readonly #memo = new Map<number, PickleValue>();
  readonly #text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #fail: Fail = (reason, hint) => modelError(this.#where, `byte ${this.#opcodeAt}: ${reason}`, hint);
  #at = 0;
  #opcodeAt = 0;
  #containers = 0;

  constructor(bytes: Uint8Array, world: PickleWorld, where: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#world = world;
    this.#where = where;
  }

  run(): PickleValue {
    if (this.#bytes.length > LIMITS.bytes) {
      throw this.#fail(`it is ${this.#bytes.length} bytes long, more than the ${LIMITS.bytes} that are read`);
    }
    for (let steps = 0; steps < LIMITS.steps; steps++) {
      this.#opcodeAt = this.#at;
      const opcode = this.#byte();
      if (steps === 0 && opcode !== 0x80) throw this.#fail('it does not start as a pickle of torch.save does');
      if (opcode === 0x2e) return this.#stop();
      const made = this.#step(opcode);
      if (made !== undefined) this.#stack.push(made);
    }
    throw this.#fail(`it has more than ${LIMITS.steps} instructions`);
  }

  /** Runs one instruction; returns what it pushes on the stack. */
  #step(opcode: number): PickleValue | undefined {
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = this.#byte();
        if (protocol < 2 || protocol > 4 || this.#opcodeAt > 0) {
          throw this.#fail(
            `it is a pickle of protocol ${protocol}, and only 2 to 4 are supported`,
            "Save it with torch.save's default protocol, which is 2.",
          );
        }
        return undefined;
      }
      case 0x95: // FRAME: how much a reader may fetch ahead
        this.#uint64();
        return undefined;

      case 0x4e: // NONE
        return null;
      case 0x88: // NEWTRUE
        return true;
      case 0x89: // NEWFALSE
        return false;
      case 0x4b: // BININT1
        return this.#byte();
      case 0x4d: // BININT2
        return this.#view.getUint16(this.#skip(2), true);
      case 0x4a: // BININT
        return this.#view.getInt32(this.#skip(4), true);
      case 0x8a: // LONG1
        return this.#long(this.#byte());
      case 0x47: // BINFLOAT
        return this.#view.getFloat64(this.#skip(8), false);
      case 0x8c: // SHORT_BINUNICODE
        return this.#string(this.#byte());
      case 0x58: // BINUNICODE
        return this.#string(this.#uint32());
      case 0x8d: // BINUNICODE8
        return this.#string(this.#uint64());

      case 0x28: // MARK
        if (this.#marks.length >= LIMITS.depth) throw this.#fail(`it is nested more than ${LIMITS.depth} deep`);
        this.#marks.push(this.#stack.length);
        return undefined;
      case 0x29: // EMPTY_TUPLE
        return this.#counted(new PickleTuple([]));
      case 0x85: // TUPLE1
        return this.#counted(new PickleTuple(this.#popMany(1)));
      case 0x86: // TUPLE2
        return this.#counted(new PickleTuple(this.#popMany(2)));
      case 0x87: // TUPLE3
        return this.#counted(new PickleTuple(this.#popMany(3)));
      case 0x74: // TUPLE
        return this.#counted(new PickleTuple(this.#popToMark()));
      case 0x5d: // EMPTY_LIST
        return this.#counted(new PickleList());
      case 0x61: // APPEND
        return this.#append(this.#popMany(1));
      case 0x65: // APPENDS
        return this.#append(this.#popToMark());
      case 0x7d: // EMPTY_DICT
        return this.#counted(new PickleDict());
      case 0x73: // SETITEM
        return this.#setItems(this.#popMany(2));
      case 0x75: // SETITEMS
        return this.#setItems(this.#popToMark());

      case 0x71: // BINPUT
        return this.#remember(this.#byte());
      case 0x72: // LONG_BINPUT
        return this.#remember(this.#uint32());
      case 0x94: // MEMOIZE
        return this.#remember(this.#memo.size);
      case 0x68: // BINGET
        return this.#recall(this.#byte());
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#uint32());

      case 0x63: // GLOBAL
        return this.#global(this.#line(), this.#line());
      case 0x93: {
        // STACK_GLOBAL
        const [module, name] = this.#popMany(2);
        if (typeof module !== 'string' || typeof name !== 'string') throw this.#fail('a global has no name');
        return this.#global(module, name);
      }
      case 0x51: // BINPERSID
        return this.#world.persistent(this.#pop(), this.#fail);
      case 0x52: // REDUCE
        return this.#reduce();
      case 0x62: // BUILD
        return this.#build();
    }
    const name = REFUSED.get(opcode);
    const what =
      name === undefined
        ? `0x${opcode.toString(16).padStart(2, '0')} is no instruction that torch.save writes`
        : `the instruction ${name} has no place in a file of tensors`;
    throw this.#refuse(what);
  }

  #stop(): PickleValue {
    const result = this.#pop();
    if (this.#stack.length > 0 || this.#marks.length > 0) throw this.#fail('it ends before it is complete');
    if (this.#at !== this.#bytes.length) throw this.#fail('something follows after its end');
    return result;
  }

  #global(module: string, name: string): PickleValue {
    const value = this.#world.global(module, name);
    if (value === undefined) {
      throw this.#refuse(`it names ${describeJson(`${module}.${name}`)}, which no file of tensors needs`);
    }
    return value;
  }

  #reduce(): PickleValue {
    const [callee, args] = this.#popMany(2);
    const value =
      callee !== undefined && args instanceof PickleTuple ? this.#world.call(callee, args, this.#fail) : undefined;
    if (value === undefined) throw this.#refuse(`it calls ${describePickle(callee)}, which is no way to make a tensor`);
    return this.#counted(value);
  }

  #build(): undefined {
    this.#pop(); // the state
    const object = this.#peek();
    if (!this.#world.takesState(object)) throw this.#refuse(`it changes the state of ${describePickle(object)}`);
  }

  #append(items: readonly PickleValue[]): undefined {
    const list = this.#peek();
    if (!(list instanceof PickleList)) throw this.#fail(`it appends to ${describePickle(list)}, not to a list`);
    for (const item of items) list.items.push(item);
  }

  #setItems(items: readonly PickleValue[]): undefined {
    const dict = this.#peek();
    if (!(dict instanceof PickleDict))
      throw this.#fail(`it sets items of ${describePickle(dict)}, not of a dictionary`);
    if (items.length % 2 !== 0) throw this.#fail('a key of a dictionary has no value');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i] as PickleValue; // i < length
      if (typeof key !== 'string' && typeof key !== 'number') {
        throw this.#fail(`a key of a dictionary is ${describePickle(key)}, and only text and numbers are read`);
      }
      // Python keeps the last one, another reader the first: they would see different files.
      if (dict.entries.has(key)) throw this.#fail(`the key ${describeJson(key)} appears twice`);
      dict.entries.set(key, items[i + 1] as PickleValue); // the length is even
    }
  }

  #remember(index: number): undefined {
    this.#memo.set(index, this.#peek());
  }

  #recall(index: number): PickleValue {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#fail(`it recalls value ${index}, which was not remembered`);
    return value;
  }

  #counted(value: PickleValue): PickleValue {
    if (++this.#containers > LIMITS.containers) throw this.#fail(`it makes more than ${LIMITS.containers} objects`);
    return value;
  }

  /** What is below the last mark belongs to the instruction that will close it. */
  get #floor(): number {
    return this.#marks.at(-1) ?? 0;
  }

  #peek(): PickleValue {
    const value = this.#stack.length > this.#floor ? this.#stack.at(-1) : undefined;
    if (value === undefined) throw this.#fail('it takes a value from an empty stack');
    return value;
  }

  #pop(): PickleValue {
    const value = this.#peek();
    this.#stack.pop();
    return value;
  }

  #popMany(count: number): PickleValue[] {
    if (this.#stack.length - this.#floor < count) throw this.#fail('it takes a value from an empty stack');
    return this.#stack.splice(this.#stack.length - count);
  }

  #popToMark(): PickleValue[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.#fail('it closes what it did not open');
    return this.#stack.splice(mark);
  }

  #byte(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  #uint32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }

  #uint64(): number {
    return Number(this.#view.getBigUint64(this.#skip(8), true));
  }

  /** A little-endian integer of any length in two's complement. */
  #long(length: number): number | bigint {
    const start = this.#skip(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[start + i] as number); // inside
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #string(length: number): string {
    const start = this.#skip(length);
    try {
      return this.#text.decode(this.#bytes.subarray(start, start + length));
    } catch {
      throw this.#fail('a text is not UTF-8');
    }
  }

  /** Text up to a line break. */
  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#fail('it is cut off');
    const line = this.#string(end - this.#at);
    this.#at++;
    return line;
  }

  /** Moves on by `length` bytes, which must be there; where they start. */
  #skip(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw this.#fail('it is cut off');
    this.#at = start + length;
    return start;
  }

  #refuse(what: string): SanaError {
    return modelError(this.#where, `byte ${this.#opcodeAt}: ${what}; ${COULD_RUN_CODE}`, REFUSED_HINT);
  }
}

/** A value in an error message. */
export function describePickle(value: PickleValue | undefined): string {
  if (typeof value === 'bigint') return 'a large integer';
  return value instanceof PickleObject ? value.kind : describeJson(value);
}
