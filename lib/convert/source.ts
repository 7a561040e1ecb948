/** The file to convert, recognised by its contents, not by its name. */

import { modelError } from '../base/model-error.ts';
import { readSafetensors, type TensorEntry } from '../checkpoint/safetensors.ts';
import type { NativeFile } from '../device/native.ts';
import { readRange, type Source, type SourceTensor, type WeightSet } from './source-tensor.ts';
import { readTorchFile } from './torch-file.ts';
import { looksLikeZip } from './zip.ts';

/** Lists the tensors of an open file, a torch file or a safetensors file. */
export async function readSource(file: NativeFile, weights: WeightSet): Promise<Source> {
  const start = new Uint8Array(await file.read(0, Math.min(file.bytes, 16)));
  if (looksLikeZip(start)) return await readTorchFile(file, weights);
  const otherKind = kindOf(start, file.path);
  if (otherKind !== null) throw otherKind;
  if (weights === 'ema') {
    throw modelError(
      file.path,
      'is a safetensors file, which has one set of weights and no moving average',
      'Leave out --ema.',
    );
  }
  const { tensors } = await readSafetensors(file);
  return {
    tensors: new Map([...tensors].map(([name, entry]) => [name, safetensorsTensor(file, entry)])),
    others: [],
  };
}

/** The error for a file that is neither a zip file nor a safetensors file, naming what it is if that can be told. */
function kindOf(start: Uint8Array, path: string): Error | null {
  // The length of a safetensors header has zeros in its upper half.
  if (start.length >= 8 && start.subarray(4, 8).every((byte) => byte === 0)) return null;
  const text = Buffer.from(start).toString('latin1');
  if (text.startsWith('PK')) return modelError(path, 'is an empty zip file, or one part of several');
  if (start[0] === 0x80 && (start[1] ?? 0) <= 5) {
    return modelError(
      path,
      'is a bare pickle: torch.save before PyTorch 1.6 wrote such files, and they are unsupported',
      "Save it again in Python: torch.save(torch.load(path, map_location='cpu', weights_only=True), new_path).",
    );
  }
  if (text.startsWith('version https://')) {
    return modelError(
      path,
      'is a Git LFS pointer, not the file it points to',
      'Fetch the file itself: git lfs pull, or download it from the hub.',
    );
  }
  if (text.length > 8 && /^[\t\n\r\x20-\x7e]*$/.test(text)) {
    return modelError(
      path,
      'is text, not weights',
      'Pass the .pth or .safetensors file itself, not an index, a configuration, or an error page saved in its place.',
    );
  }
  return null;
}

function safetensorsTensor(file: NativeFile, entry: TensorEntry): SourceTensor {
  const { name, dtype, storedDType, shape } = entry;
  const elements = shape.reduce((product, size) => product * size, 1);
  const elementBytes = elements === 0 ? 1 : entry.bytes / elements;
  return {
    name,
    dtype,
    storedDType,
    shape,
    elements,
    elementBytes,
    read: (first, count, maxBytes) =>
      readRange(file, entry.offset + first * elementBytes, count * elementBytes, elementBytes, maxBytes),
  };
}
