/** A whole pipeline around a converted component: the rest of it comes from another pipeline's folder. */

import { constants } from 'node:fs';
import { copyFile, link, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsonObject, JsonValue } from '../base/json.ts';
import { modelError } from '../base/model-error.ts';
import { ModelFolder } from '../checkpoint/model-folder.ts';
import { writeDurably } from './component-writer.ts';
import type { Layout } from './official-layout.ts';

const MODEL_INDEX = 'model_index.json';

/** Library and class of each component, as diffusers writes them into model_index.json. */
const CLASSES = {
  text_encoder: ['transformers', 'Gemma2Model'],
  tokenizer: ['transformers', 'GemmaTokenizerFast'],
  transformer: ['diffusers', 'SanaTransformer2DModel'],
  controlnet: ['diffusers', 'SanaControlNetModel'],
  vae: ['diffusers', 'AutoencoderDC'],
} as const;
type Part = keyof typeof CLASSES | 'scheduler';

/** What a pipeline takes from the base, and what is written for it. */
export interface PipelinePlan {
  readonly base: ModelFolder;
  readonly parts: readonly Part[]; // taken
  readonly index: JsonObject;
  readonly scheduler: JsonObject | null; // written, unless it is taken
}

/**
 * Plans the pipeline of a component in the folder `path`. A transformer brings its own scheduler, because the solver
 * and its shift belong to how it was trained; a ControlNet and an autoencoder leave the base's as it is.
 */
export async function planPipeline(path: string, { component, config }: Layout): Promise<PipelinePlan> {
  const base = await ModelFolder.open(path);
  const baseIndex = await base.readJson(MODEL_INDEX);
  const scheduler = component === 'transformer' ? schedulerOf(config) : null;
  const controlled = component === 'controlnet' || (component === 'vae' && (await holds(base, 'controlnet')));
  const all: Part[] = [
    'text_encoder',
    'tokenizer',
    'vae',
    'transformer',
    ...(controlled ? ['controlnet' as const] : []),
  ];
  const taken: Part[] = all.filter((part) => part !== component);
  if (scheduler === null) taken.push('scheduler');
  for (const part of taken) {
    if (await holds(base, part)) continue;
    throw modelError(
      base.path,
      `holds no ${part}/, which the pipeline needs beside its ${component}`,
      'Pass --base a folder of a whole pipeline in the diffusers layout, such as a copy of Sana_600M_512px_diffusers.',
    );
  }
  const schedulerClass =
    scheduler?._class_name ??
    (await base.readJson('scheduler/scheduler_config.json'))?._class_name ??
    'DPMSolverMultistepScheduler';
  const index: Record<string, JsonValue> = {
    _class_name: pipelineClass(component, config, baseIndex),
    scheduler: ['diffusers', schedulerClass],
  };
  for (const part of all) if (part !== 'scheduler') index[part] = CLASSES[part];
  return { base, parts: taken, index, scheduler };
}

/** Puts the rest of the pipeline into `folder`, in which the component is already. */
export async function writePipeline(folder: string, plan: PipelinePlan, signal?: AbortSignal): Promise<void> {
  for (const part of plan.parts) {
    await mkdir(join(folder, part));
    for (const entry of await plan.base.list(part)) {
      signal?.throwIfAborted();
      const name = join(part, entry.name);
      if (entry.isDirectory() || entry.name.startsWith('.')) continue;
      const real = await plan.base.find(name); // never outside the base
      if (real !== null) await linkOrCopy(real, join(folder, name));
    }
  }
  if (plan.scheduler !== null) {
    await mkdir(join(folder, 'scheduler'));
    await writeDurably(join(folder, 'scheduler', 'scheduler_config.json'), json(plan.scheduler));
  }
  await writeDurably(join(folder, MODEL_INDEX), json(plan.index));
}

/** A second name for the same bytes where the file system allows it, so that a pipeline costs only what is new in it. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  const linked = await link(from, to).then(
    () => true,
    () => false,
  );
  if (linked) return;
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  const copy = await open(to, 'r+');
  try {
    await copy.sync();
  } finally {
    await copy.close();
  }
}

async function holds(base: ModelFolder, part: string): Promise<boolean> {
  return (await base.list(part)).some((entry) => !entry.isDirectory());
}

function pipelineClass(component: Layout['component'], config: JsonObject, baseIndex: JsonObject | null): JsonValue {
  if (component === 'controlnet') return 'SanaControlNetPipeline';
  if (component === 'transformer') return config.guidance_embeds === true ? 'SanaSprintPipeline' : 'SanaPipeline';
  return baseIndex?._class_name ?? 'SanaPipeline';
}

/** The released schedulers: Flow-DPM-Solver with a larger shift for 4096 pixels, SCM for Sprint. */
function schedulerOf(config: JsonObject): JsonObject {
  if (config.guidance_embeds === true) {
    return { _class_name: 'SCMScheduler', num_train_timesteps: 1000, prediction_type: 'trigflow', sigma_data: 0.5 };
  }
  return {
    _class_name: 'DPMSolverMultistepScheduler',
    algorithm_type: 'dpmsolver++',
    euler_at_final: false,
    final_sigmas_type: 'zero',
    flow_shift: config.sample_size === 128 ? 6 : 3,
    lower_order_final: true,
    num_train_timesteps: 1000,
    prediction_type: 'flow_prediction',
    solver_order: 2,
    solver_type: 'midpoint',
    use_flow_sigmas: true,
  };
}

function json(value: JsonObject): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
