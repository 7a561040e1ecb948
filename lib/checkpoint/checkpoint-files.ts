/** Which files of a checkpoint are read: what is downloaded from a repository, and whether a folder is complete. */

import { basename, join } from 'node:path';
import { describeJson, type JsonObject } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import { type FolderView, findWeightFiles } from './weight-files.ts';

export const PIPELINE_CLASSES = ['SanaPipeline', 'SanaSprintPipeline', 'SanaControlNetPipeline'] as const;
export type PipelineClass = (typeof PIPELINE_CLASSES)[number];

/** How the names of each component's weight files start. */
export const WEIGHTS = {
  transformer: 'diffusion_pytorch_model',
  text_encoder: 'model',
  vae: 'diffusion_pytorch_model',
  controlnet: 'diffusion_pytorch_model',
} as const;
export type ComponentName = keyof typeof WEIGHTS;

/** The components of a pipeline that have weights. */
export function componentsOf(className: PipelineClass): readonly ComponentName[] {
  const all: readonly ComponentName[] = ['transformer', 'text_encoder', 'vae'];
  return className === 'SanaControlNetPipeline' ? [...all, 'controlnet'] : all;
}

const REQUIRED = ['model_index.json', 'scheduler/scheduler_config.json', 'tokenizer/tokenizer.json'];
// The package reads the first two. The others are small, and let Python load the same tokenizer from the same cache.
const OPTIONAL = [
  'generation_config.json',
  'vocabulary.json',
  'tokenizer/tokenizer_config.json',
  'tokenizer/special_tokens_map.json',
];

/** The class of a pipeline, from `model_index.json` in `folder`. */
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
  /** Whether all weights are of the requested variant; without one, the unsuffixed files. */
  readonly exact: boolean;
}

/**
 * The files that loading a checkpoint reads, those of one variant of each component.
 *
 * @throws SanaError ERR_SANA_MODEL for an incomplete checkpoint, or if there is none.
 */
export async function checkpointFiles(folder: FolderView, variant: string | undefined): Promise<CheckpointFiles> {
  const index = await folder.readJson('model_index.json');
  if (index === null) throw await noPipeline(folder);
  const names = [...REQUIRED];
  let exact = true;
  for (const name of OPTIONAL) if ((await folder.find(name)) !== null) names.push(name);
  for (const component of componentsOf(pipelineClass(index, folder.path))) {
    const files = await componentFiles(folder, component, component, variant);
    exact &&= files.exact;
    names.push(...files.names);
  }
  await demandAll(folder, names);
  return { names, exact };
}

/** The path of a ControlNet in a folder: `controlnet` in a pipeline, otherwise the folder itself. */
export async function controlNetPath(folder: FolderView): Promise<string> {
  return (await folder.find('controlnet/config.json')) === null ? '.' : 'controlnet';
}

/**
 * The files of a ControlNet: of a ControlNet's own folder, or of one in a pipeline.
 *
 * @throws SanaError ERR_SANA_MODEL for an incomplete ControlNet, or if there is none.
 */
export async function controlNetFiles(folder: FolderView, variant: string | undefined): Promise<CheckpointFiles> {
  const path = await controlNetPath(folder);
  const config = join(path, 'config.json');
  if ((await folder.find(config)) === null) {
    throw modelError(
      folder.path,
      'it is not a ControlNet: there is neither config.json nor controlnet/config.json in it',
      'Pass a ControlNet of a SANA model in the diffusers layout, or a checkpoint that has one in controlnet/.',
    );
  }
  const files = await componentFiles(folder, 'controlnet', path, variant);
  await demandAll(folder, files.names);
  return files;
}

async function componentFiles(
  folder: FolderView,
  component: ComponentName,
  path: string,
  variant: string | undefined,
): Promise<CheckpointFiles> {
  const chosen = await findWeightFiles(folder, path, WEIGHTS[component], variant);
  const names = ['config.json', ...chosen.names, ...(chosen.index === null ? [] : [basename(chosen.index.file)])];
  return { names: names.map((name) => join(path, name)), exact: chosen.variant === (variant ?? null) };
}

async function demandAll(folder: FolderView, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if ((await folder.find(name)) !== null) continue;
    throw modelError(
      join(folder.path, name),
      'is not there',
      'The checkpoint is incomplete: download the missing files.',
    );
  }
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
      ? ['it is one component of a pipeline', 'Pass the repository of the whole pipeline.']
      : ['it is not a pipeline', 'Pass a repository of a SANA model in the diffusers layout.'];
  return modelError(folder.path, `there is no model_index.json in it: ${reason}`, hint);
}
