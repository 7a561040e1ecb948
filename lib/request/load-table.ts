/** The options of `SanaPipeline.fromPretrained`, as rows: see request-table.ts. */

import { publicDtypeNames } from '../base/dtypes.ts';
import { argumentError } from '../base/errors.ts';
import { MAX_THREADS } from '../base/threads.ts';
import { checkRevision } from '../hub/repository.ts';
import { OFFLOADS } from './choices.ts';
import { always, type Table, unset } from './field.ts';
import { boolean, callback, choice, integer, name, orNull, pattern, signal, text } from './value-types.ts';
import type { DeviceName, LoadProgress } from './values.ts';

export const LOAD = {
  device: {
    type: pattern<DeviceName>(/^(auto|cpu|cuda(:\d{1,3})?)$/, {
      range: "`'auto'`, `'cpu'`, `'cuda'`, `'cuda:N'`",
      expected: "'auto', 'cpu', 'cuda' or 'cuda:0'",
      typescript: 'DeviceName',
    }),
    default: always('auto'),
    summary: 'where to compute',
    details: '`auto`: the first usable GPU, otherwise the CPU.',
    see: 'See [how `auto` chooses](gpus.md#how-auto-chooses).',
    group: 'Device',
    flag: { value: '<name>', help: "'auto', 'cpu', 'cuda' or 'cuda:0'" },
  },
  dtype: {
    type: choice(['auto', ...publicDtypeNames], "'auto' | DTypeName"),
    default: always('auto'),
    summary: 'dtype to compute in',
    details:
      "`auto`: bfloat16 on a GPU and on CPUs with AVX512-BF16, otherwise float32. `float16`: only on a GPU. `int8`: the matrix products of the transformer's blocks in int8, everything else in bfloat16. `fp8`: the same in 8-bit floating point (e4m3), on GPUs of compute capability 8.9 and later.",
    see: 'Accuracy: [int8](numerics.md#int8), [fp8](numerics.md#fp8).',
    group: 'Device',
    flag: { value: '<type>' },
  },
  variant: {
    // It becomes part of file names.
    type: pattern(/^[A-Za-z0-9_-]{1,32}$/, {
      range: 'a word of up to 32 letters, digits, `_`, `-`',
      expected: "a word such as 'fp16' or 'bf16'",
    }),
    default: unset('the files without suffix'),
    summary: 'which weight files, if there are several',
    details: "`'fp16'` selects `*.fp16.safetensors`.",
    group: 'Model',
    flag: { value: '<name>' },
  },
  revision: {
    type: { ...name('branch, tag or commit'), check: (field, value) => checkRevision(name().check(field, value)) },
    default: unset('`main`'),
    summary: 'which revision of a hub repository',
    details: 'A commit always gives the same model.',
    group: 'Model',
    flag: { value: '<name>', help: 'a branch, tag or commit' },
  },
  cacheDir: {
    type: name(),
    default: unset('`HF_HUB_CACHE`, otherwise `hub` in `HF_HOME`, otherwise `~/.cache/huggingface/hub`'),
    summary: 'cache folder for hub repositories',
    details: "The default is Python's cache.",
    group: 'Model',
    flag: { value: '<folder>' },
  },
  localFilesOnly: {
    type: boolean,
    default: unset('`false`, or `HF_HUB_OFFLINE`'),
    summary: 'use the cache only, not the network',
    group: 'Model',
    flag: {},
  },
  token: {
    // The error does not show the value: it is a secret.
    type: {
      ...text,
      check(field, value) {
        if (typeof value === 'string') return value;
        throw argumentError(field, 'a string', typeof value);
      },
      range: 'string',
    },
    default: unset('`HF_TOKEN`, otherwise that of `hf auth login`'),
    summary: 'for gated and private repositories',
    see: 'There is no flag, because others can see a command line.',
    group: 'Model',
  },
  threads: {
    type: integer(1, MAX_THREADS),
    default: unset('one per core that the process may use (affinity and container quota count)'),
    summary: 'threads of the CPU device',
    group: 'Device',
    flag: { value: '<count>' },
  },
  offload: {
    type: choice(OFFLOADS),
    default: always('none'),
    summary: 'what to remove from memory while it is not needed',
    details:
      'Nothing, the text encoder once the prompt is encoded, or every model once it has done its part. It is read again at the next call.',
    see: 'See [memory.md](memory.md#offload).',
    group: 'Device',
    flag: { value: '<what>' },
  },
  controlnet: {
    type: name('folder, or hub repository', 'the path of a folder, or a repository id'),
    default: unset("the checkpoint's own"),
    summary: 'the ControlNet to use',
    details:
      'Its folder, or that of a checkpoint that has one in `controlnet/`, or a hub repository of either kind, from which only the ControlNet is downloaded. Not for Sprint models.',
    see: 'See [controlnet.md](controlnet.md).',
    group: 'ControlNet',
    flag: { value: '<folder>', help: 'folder or hub repository; it needs --control-image' },
  },
  instructionCache: {
    type: orNull(name('folder'), '`null`: none is kept or read'),
    range: 'folder, or `null`',
    default: unset('`~/.cache/sana-native/instructions`; none for a small text encoder'),
    summary: 'folder for the computed keys and values of instructions',
    details:
      'Each instruction is then computed once, not once per process. They take 22 MB each in bfloat16, 512 MB at most. `null`: none is kept or read.',
    see: '`--no-instruction-cache` is `null`.',
    group: 'Device',
    flag: { value: '<folder>', no: 'do not use the instruction cache' },
  },
  onProgress: {
    type: callback<(event: LoadProgress) => void>('(event: LoadProgress) => void'),
    default: unset('none'),
    summary: 'called with `{ phase, loadedBytes, totalBytes, ... }`',
    group: 'Call',
  },
  signal: {
    type: signal,
    default: unset('none'),
    summary: 'ends loading',
    details: 'Loading rejects with `signal.reason`.',
    group: 'Call',
  },
} as const satisfies Table;
