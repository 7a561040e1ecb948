/** Tensors of the file to convert, read in pieces. */

import type { TensorDType } from '../checkpoint/safetensors.ts';
import type { NativeFile } from '../device/native.ts';

/** A tensor of the file to convert. */
export interface SourceTensor {
  readonly name: string;
  readonly dtype: TensorDType;
  readonly storedDType: string; // as safetensors spells it
  readonly shape: readonly number[];
  readonly elements: number;
  readonly elementBytes: number;
  /** `count` elements from the row-major `first` on, in pieces of whole elements and at most `maxBytes`. */
  read(first: number, count: number, maxBytes: number): AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface Source {
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  /** Names in the dictionary that were ignored because they are not tensors. */
  readonly others: readonly string[];
}

/** Which of the weights in a file to use: the trained ones, or their moving average. */
export type WeightSet = 'trained' | 'ema';

/** The bytes of a range of a file, in pieces of whole elements. */
export async function* readRange(
  file: NativeFile,
  offset: number,
  bytes: number,
  elementBytes: number,
  maxBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const pieceBytes = Math.max(1, Math.floor(maxBytes / elementBytes)) * elementBytes;
  for (let done = 0; done < bytes; done += pieceBytes) {
    yield new Uint8Array(await file.read(offset + done, Math.min(pieceBytes, bytes - done)));
  }
}
