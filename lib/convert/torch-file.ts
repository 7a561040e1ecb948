/** Files of `torch.save`: a zip file with a pickle, which describes the tensors, and the bytes of every storage. */

import { describeJson } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import type { NativeFile } from '../device/native.ts';
import { describePickle, PickleDict, readPickle } from './pickle.ts';
import { readRange, type Source, type SourceTensor, type WeightSet } from './source-tensor.ts';
import { gather, isContiguous } from './strided.ts';
import { TorchTensor, TorchWorld } from './torch-objects.ts';
import { readZipDirectory, type ZipEntry } from './zip.ts';

const MAX_PICKLE_BYTES = 64 * 1024 * 1024;
/** A view in another order is gathered in memory: no weight of any release comes close to this size. */
const MAX_GATHERED_BYTES = 1024 ** 3;

/** Lists the tensors of a torch file. The caller keeps the file open, and no tensor is read yet. */
export async function readTorchFile(file: NativeFile, weights: WeightSet): Promise<Source> {
  const entries = await readZipDirectory(file);
  const pickle = findPickle(entries, file.path);
  const prefix = pickle.name.slice(0, -'data.pkl'.length);
  await checkByteOrder(file, entries.get(`${prefix}byteorder`));
  if (pickle.bytes > MAX_PICKLE_BYTES) {
    throw modelError(file.path, `${pickle.name} is ${pickle.bytes} bytes long: at most ${MAX_PICKLE_BYTES} are read`);
  }
  const bytes = new Uint8Array(await file.read(pickle.offset, pickle.bytes));
  const root = readPickle(bytes, new TorchWorld(entries, prefix, file.path), `${file.path}: ${pickle.name}`);
  if (!(root instanceof PickleDict)) {
    throw modelError(
      file.path,
      `holds ${describePickle(root)}, not a dictionary of tensors`,
      "Save the model's state in Python: torch.save({'state_dict': model.state_dict()}, path).",
    );
  }
  const tensors = new Map<string, SourceTensor>();
  const others: string[] = [];
  for (const [name, value] of chooseState(root, weights, file.path).entries) {
    if (typeof name === 'string' && value instanceof TorchTensor) tensors.set(name, torchTensor(file, name, value));
    else others.push(String(name));
  }
  return { tensors, others };
}

function findPickle(entries: ReadonlyMap<string, ZipEntry>, path: string): ZipEntry {
  // The folder in the zip file has the name that the file had when it was saved.
  const found = [...entries.values()].filter(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickle] = found;
  if (pickle === undefined || found.length > 1) {
    throw modelError(
      path,
      found.length > 1
        ? `is a zip file with ${found.length} pickles, and torch.save writes one`
        : 'is a zip file, but not one that torch.save wrote: there is no data.pkl in it',
      'Pass the file that torch.save wrote, not an archive of it.',
    );
  }
  const prefix = pickle.name.slice(0, -'data.pkl'.length);
  if ([...entries.keys()].some((name) => name === `${prefix}constants.pkl` || name.startsWith(`${prefix}code/`))) {
    throw modelError(
      path,
      'is a TorchScript program, which contains code in addition to its weights',
      "Save its weights alone in Python: torch.save({'state_dict': model.state_dict()}, path).",
    );
  }
  return pickle;
}

/** Files without the entry are from before big-endian files existed. */
async function checkByteOrder(file: NativeFile, entry: ZipEntry | undefined): Promise<void> {
  if (entry === undefined) return;
  const text = Buffer.from(await file.read(entry.offset, Math.min(entry.bytes, 16))).toString('latin1');
  if (text === 'little') return;
  throw modelError(
    file.path,
    text === 'big' ? 'was saved on a big-endian machine' : `has an unknown byte order, ${describeJson(text)}`,
    'Load it with torch on this machine, which swaps the bytes, and save it again.',
  );
}

/**
 * The dictionary with the weights. The official training code saves `{state_dict, state_dict_ema, epoch, ...}`
 * (diffusion/utils/checkpoint.py), and its inference code uses `state_dict`, or the file's own dictionary without one
 * (app/sana_pipeline.py). efficientvit's autoencoders have theirs below `model`.
 */
function chooseState(root: PickleDict, weights: WeightSet, path: string): PickleDict {
  const names = [...root.entries.keys()];
  const key = weights === 'ema' ? 'state_dict_ema' : ['state_dict', 'model'].find((name) => names.includes(name));
  if (key === undefined) return root;
  const chosen = root.entries.get(key);
  if (chosen instanceof PickleDict) return chosen;
  throw modelError(
    path,
    chosen === undefined
      ? `holds no ${key}: there is ${names.slice(0, 10).map(describeJson).join(', ')}`
      : `holds ${describePickle(chosen)} as ${key}, not a dictionary of tensors`,
    weights === 'ema' ? 'Leave out --ema to use the trained weights.' : undefined,
  );
}

function torchTensor(file: NativeFile, name: string, tensor: TorchTensor): SourceTensor {
  const { type, shape, strides, elements, offset, span } = tensor;
  const { dtype, storedDType, elementBytes } = type;
  const contiguous = isContiguous(shape, strides);
  async function* gathered(first: number, count: number, maxBytes: number) {
    if (span * elementBytes > MAX_GATHERED_BYTES) {
      throw modelError(
        file.path,
        `the tensor ${describeJson(name)} is a view that spans ${span * elementBytes} bytes, too many to reorder in memory`,
        'Save it with .contiguous() in Python.',
      );
    }
    const memory = new Uint8Array(await file.read(offset, span * elementBytes));
    const most = Math.max(1, Math.floor(maxBytes / elementBytes));
    for (let done = 0; done < count; done += most) {
      yield gather(memory, elementBytes, shape, strides, first + done, Math.min(most, count - done));
    }
  }
  return {
    name,
    dtype,
    storedDType,
    shape,
    elements,
    elementBytes,
    read: (first, count, maxBytes) =>
      contiguous
        ? readRange(file, offset + first * elementBytes, count * elementBytes, elementBytes, maxBytes)
        : gathered(first, count, maxBytes),
  };
}
