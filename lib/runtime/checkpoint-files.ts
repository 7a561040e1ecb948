/** Which files of a checkpoint are read: what is fetched of a repository, and whether a folder has it all. */

import { basename, join } from 'node:path';
import { describeJson, type JsonObject } from './json.ts';
import { modelError } from './model-error.ts';
import { type FolderView, findWeightFiles } from './weight-files.ts';

export const PIPELINE_CLASSES = ['SanaPipeline', 'SanaSprintPipeline', 'SanaControlNetPipeline'] as const;
export type PipelineClass = (typeof PIPELINE_CLASSES)[number];

/** What the names of each component's weight files start with. */
export const WEIGHTS = {
  transformer: 'diffusion_pytorch_model',
  text_encoder: 'model',
  vae: 'diffusion_pytorch_model',
  controlnet: 'diffusion_pytorch_model',
} as const;
export type ComponentName = keyof typeof WEIGHTS;

/** The components with weights that a pipeline has. */
export function componentsOf(className: PipelineClass): readonly ComponentName[] {
  const all: readonly ComponentName[] = ['transformer', 'text_encoder', 'vae'];
  return className === 'SanaControlNetPipeline' ? [...all, 'controlnet'] : all;
}

const REQUIRED = ['model_index.json', 'scheduler/scheduler_config.json', 'tokenizer/tokenizer.json'];
// The package reads the first two; the others are small, and let Python load the same tokenizer from the same cache.
const OPTIONAL = [
  'generation_config.json',
  'vocabulary.json',
  'tokenizer/tokenizer_config.json',
  'tokenizer/special_tokens_map.json',
];

/** The class of a pipeline, of its `model_index.json` in `folder`. */
export function pipelineClass(index: JsonObject, folder: string): PipelineClass {
  const name = index._class_name;
  const className = PIPELINE_CLASSES.find((supported) => supported === name);
  if (className !== undefined) return className;
  throw modelError(
    join(folder, 'model_index.json'),
    `is for ${describeJson(name)}, which is not supported: expected ${PIPELINE_CLASSES.join(', ')}`,
    'Pass the folder of a SANA checkpoint in the diffusers layout.',
  );
}

export interface CheckpointFiles {
  readonly names: readonly string[];
  /** Whether all weights are of the variant that was asked for; without one, the unsuffixed files. */
  readonly exact: boolean;
}

/**
 * The files that loading a checkpoint reads, those of one variant of each component.
 *
 * @throws SanaError ERR_SANA_MODEL for a checkpoint that is incomplete, or none.
 */
export async function checkpointFiles(folder: FolderView, variant: string | undefined): Promise<CheckpointFiles> {
  const index = await folder.readJson('model_index.json');
  if (index === null) throw await noPipeline(folder);
  const files = [...REQUIRED];
  let exact = true;
  for (const name of OPTIONAL) if ((await folder.find(name)) !== null) files.push(name);
  for (const component of componentsOf(pipelineClass(index, folder.path))) {
    const chosen = await findWeightFiles(folder, component, WEIGHTS[component], variant);
    exact &&= chosen.variant === (variant ?? null);
    files.push(`${component}/config.json`, ...chosen.names.map((name) => `${component}/${name}`));
    if (chosen.index !== null) files.push(`${component}/${basename(chosen.index.file)}`);
  }
  for (const name of files) {
    if ((await folder.find(name)) !== null) continue;
    throw modelError(
      join(folder.path, name),
      'is not there',
      'The checkpoint is incomplete: download the missing files.',
    );
  }
  return { names: files, exact };
}

async function noPipeline(folder: FolderView): Promise<Error> {
  const names = (await folder.list('.')).map(({ name }) => name);
  const original = names.some((name) => /\.(pth|pt|ckpt)$/.test(name)) || names.includes('checkpoints');
  const [reason, hint] = original
    ? [
        'it holds weights in the original layout (.pth)',
        'Use the repository of the same model whose name ends in _diffusers, or `sana-native convert`.',
      ]
    : names.includes('config.json')
      ? ['it is one component of a pipeline', 'Name the repository of the whole pipeline.']
      : ['it is no pipeline', 'Name a repository of a SANA model in the diffusers layout.'];
  return modelError(folder.path, `there is no model_index.json in it: ${reason}`, hint);
}
