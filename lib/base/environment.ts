/**
 * The environment variables that the package reads: one row each. No other file reads the environment.
 * docs/environment.md is generated from these rows.
 */

export interface Variable {
  readonly group: 'sana-native' | 'Hugging Face hub' | 'network' | 'system' | 'build';
  /** One or two sentences. */
  readonly means: string;
  /** What applies if the variable is unset or empty, which are the same. */
  readonly otherwise: string;
}

const row = (group: Variable['group'], means: string, otherwise: string): Variable => ({ group, means, otherwise });

export const VARIABLES = {
  SANA_NATIVE_ADDON: row(
    'sana-native',
    'The file of the addon to load.',
    'the one that was built here, otherwise the prebuilt one',
  ),
  SANA_NATIVE_CUDA: row(
    'sana-native',
    'Which CUDA library to open: `off`, a major version such as `13`, or the path of a library.',
    'the newest one that the driver supports',
  ),
  SANA_NATIVE_PROBE: row(
    'sana-native',
    '`off` opens a CUDA library without trying it in a child process first, `always` tries it every time.',
    'once for each driver, set of cards and library',
  ),
  SANA_NATIVE_CPU_PATH: row(
    'sana-native',
    'The code path of the CPU: `avx512-bf16`, `avx512`, `avx2` or `portable`.',
    'the best one that the processor supports',
  ),
  SANA_NATIVE_CUDA_PATH: row(
    'sana-native',
    'The code path of the GPU, such as `sm_90a-wgmma`: see [cuda.md](cuda.md).',
    'chosen by the compute capability',
  ),

  HF_HUB_CACHE: row(
    'Hugging Face hub',
    'The folder of the repositories.',
    '`HUGGINGFACE_HUB_CACHE`, otherwise `hub` in `HF_HOME`',
  ),
  HUGGINGFACE_HUB_CACHE: row('Hugging Face hub', 'The older name of `HF_HUB_CACHE`.', 'see there'),
  HF_HOME: row(
    'Hugging Face hub',
    'The folder of the cache and of the token.',
    '`huggingface` in `XDG_CACHE_HOME`, otherwise in `~/.cache`',
  ),
  HF_ENDPOINT: row('Hugging Face hub', 'The address of the hub, for a mirror.', '`https://huggingface.co`'),
  HF_TOKEN: row(
    'Hugging Face hub',
    'The token for private and gated repositories.',
    '`HUGGING_FACE_HUB_TOKEN`, otherwise the file that `hf auth login` writes',
  ),
  HUGGING_FACE_HUB_TOKEN: row('Hugging Face hub', 'The older name of `HF_TOKEN`.', 'see there'),
  HF_TOKEN_PATH: row('Hugging Face hub', 'The file of the token.', '`token` in `HF_HOME`'),
  HF_HUB_DISABLE_IMPLICIT_TOKEN: row(
    'Hugging Face hub',
    '`1` sends a token only if it is passed as an option.',
    'the token is sent',
  ),
  HF_HUB_OFFLINE: row('Hugging Face hub', '`1` does not use the network.', '`TRANSFORMERS_OFFLINE`'),
  TRANSFORMERS_OFFLINE: row('Hugging Face hub', 'The same as `HF_HUB_OFFLINE`.', 'the hub is asked'),
  HF_HUB_DISABLE_SYMLINKS: row(
    'Hugging Face hub',
    '`1` keeps files in the cache as copies, not as links.',
    'links, if the file system supports them',
  ),
  HF_HUB_DOWNLOAD_TIMEOUT: row(
    'Hugging Face hub',
    'Seconds without an answer after which a request is repeated.',
    '30',
  ),

  HTTP_PROXY: row('network', 'The proxy for `http:` addresses; `http_proxy` is the same.', 'none'),
  HTTPS_PROXY: row('network', 'The proxy for `https:` addresses; `https_proxy` is the same.', 'none'),
  NO_PROXY: row('network', 'Hosts that are reached without a proxy; `no_proxy` is the same.', 'none'),

  XDG_CACHE_HOME: row('system', 'The folder for caches.', '`~/.cache`'),
  NO_COLOR: row('system', 'With any value, the progress bar has no colours.', 'colours on a terminal'),
  CUDA_VISIBLE_DEVICES: row('system', 'The GPUs that are visible to the process.', 'all'),
  NVIDIA_VISIBLE_DEVICES: row('system', 'The GPUs that a container gets.', 'chosen by the container runtime'),
  LD_LIBRARY_PATH: row('system', 'More folders to look for the NVIDIA driver in.', 'the folders of the system'),

  CXX: row('build', 'The C++ compiler of `sana-native build`.', '`c++`, `g++` or `clang++`, whichever is found first'),
  CUDACXX: row('build', 'The CUDA compiler of `sana-native build`.', '`nvcc` in `CUDA_HOME`, `CUDA_PATH` or `PATH`'),
  CUDA_HOME: row('build', 'The folder of a CUDA toolkit.', '`/usr/local/cuda`'),
  CUDA_PATH: row('build', 'The same as `CUDA_HOME`.', 'see there'),
  PATH: row('build', 'The folders to look for compilers in.', 'none'),
} as const satisfies Record<string, Variable>;

export type VariableName = keyof typeof VARIABLES;

/** Variables and their values, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The value of a variable; undefined if it is unset or empty. */
export function environmentVariable(name: VariableName, env: Environment = process.env): string | undefined {
  return env[name] || undefined;
}

/** The package's own variables that are set, for bug reports. */
export function ownSettings(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[0].startsWith('SANA_NATIVE_')),
  );
}

/** The environment of a child process: that of this one, with changes. */
export function childEnvironment(changes: Environment): Environment {
  return { ...process.env, ...changes };
}

/** A text with `$NAME` and `${NAME}` replaced by their values, as in Python. Unknown names stay as they are. */
export function expandVariables(text: string, env: Environment = process.env): string {
  return text.replaceAll(/\$(?:(\w+)|\{(\w+)\})/g, (all, plain, braced) => env[plain ?? braced] ?? all);
}
