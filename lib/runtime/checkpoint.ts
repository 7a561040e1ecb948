/** A checkpoint folder in the diffusers layout: its configurations, and where every tensor lies. */

import type { NativeFile } from '../native.ts';
import type { AutoencoderConfig, Gemma2Config, SchedulerConfig, TransformerConfig } from './configs.ts';
import { describeJson } from './json.ts';
import { modelError } from './model-error.ts';
import type { TensorEntry } from './safetensors.ts';

export type PipelineClass = 'SanaPipeline' | 'SanaSprintPipeline' | 'SanaControlNetPipeline';

/** A file that the weights of a component lie in. */
export interface WeightFile {
  readonly name: string; // inside the component's folder
  readonly path: string;
  readonly bytes: number;
}

/** One model of a checkpoint. */
export interface Component<C> {
  readonly name: string; // its folder: 'transformer', 'text_encoder', 'vae', 'controlnet'
  readonly config: C;
  readonly configPath: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly variant: string | null; // of the files that were chosen: 'fp16', 'bf16', or null for the unsuffixed ones
  readonly files: readonly WeightFile[];
  readonly dtype: 'f32' | 'bf16' | 'f16' | 'mixed'; // what the weights are stored as
  file(entry: TensorEntry): NativeFile;
}

export interface Checkpoint {
  readonly folder: string;
  readonly className: PipelineClass;
  readonly scheduler: SchedulerConfig;
  readonly transformer: Component<TransformerConfig>;
  readonly textEncoder: Component<Gemma2Config>;
  readonly vae: Component<AutoencoderConfig>;
  readonly controlnet?: Component<TransformerConfig>;
  readonly tokenizerFolder: string;
  close(): void; // closes the files; idempotent
}

/** How many tensors of a kind an error names. */
const NAMED = 10;

/**
 * Throws one `ERR_SANA_MODEL` that lists every tensor that is missing, not expected, of another shape than expected or
 * of a dtype that weights cannot have. Tensors that match `ignore` may be there, and nothing is asked of them.
 */
export function checkTensors<C>(
  component: Component<C>,
  expected: ReadonlyMap<string, readonly number[]>, // shapes by name
  options: { ignore?: RegExp } = {},
): void {
  const ignored = (name: string) => options.ignore !== undefined && name.search(options.ignore) >= 0;
  const missing: string[] = [];
  const misshapen: string[] = [];
  const mistyped: string[] = [];
  for (const [name, shape] of expected) {
    const tensor = component.tensors.get(name);
    if (tensor === undefined) {
      missing.push(name);
      continue;
    }
    const same = tensor.shape.length === shape.length && tensor.shape.every((size, i) => size === shape[i]);
    if (!same) misshapen.push(`${name} is [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]`);
    if (!isWeight(tensor)) mistyped.push(`${name} is ${tensor.storedDType}, expected F32, BF16 or F16`);
  }
  const extra = [...component.tensors.keys()].filter((name) => !expected.has(name) && !ignored(name));
  const problems = [
    summary('missing', missing),
    summary('not part of this model', extra.map(describeJson)),
    summary('of another shape', misshapen),
    summary('of another dtype', mistyped),
  ].filter((problem) => problem !== '');
  if (problems.length === 0) return;
  const files = component.files.map((file) => file.name).join(', ');
  throw modelError(
    component.configPath,
    `the weights of ${component.name} (${files}) are not those of its configuration: ${problems.join('; ')}`,
    'Configuration and weights must come from the same release: download the folder again.',
  );
}

function isWeight(tensor: TensorEntry): boolean {
  return tensor.dtype === 'f32' || tensor.dtype === 'bf16' || tensor.dtype === 'f16';
}

function summary(what: string, names: readonly string[]): string {
  if (names.length === 0) return '';
  const more = names.length > NAMED ? `, and ${names.length - NAMED} more` : '';
  return `${names.length} ${what}: ${names.slice(0, NAMED).join(', ')}${more}`;
}
