/** `generation_config.json`, a file that a checkpoint folder may hold: how its model is best asked. */

import { MAX_STEPS } from '../schedulers/schedule.ts';
import { ConfigReader } from './config-reader.ts';
import type { JsonObject } from './json.ts';

/** What a request has where it says nothing; a field that is not there leaves it to the kind of model. */
export interface GenerationConfig {
  readonly numInferenceSteps?: number;
  readonly guidanceScale?: number;
  /** null: nothing is put before the prompt. */
  readonly complexHumanInstruction?: readonly string[] | null;
}

const MAX_LINES = 1000;

export function parseGenerationConfig(json: JsonObject, file: string): GenerationConfig {
  const read = new ConfigReader(json, file);
  const has = (key: string) => Object.hasOwn(json, key);
  return {
    ...(has('num_inference_steps') && {
      numInferenceSteps: read.integer('num_inference_steps', undefined, 1, MAX_STEPS),
    }),
    ...(has('guidance_scale') && { guidanceScale: read.number('guidance_scale', undefined, 0, 1000) }),
    ...(has('complex_human_instruction') && {
      complexHumanInstruction: read.nullable('complex_human_instruction', () =>
        read.list('complex_human_instruction', { min: 0, max: MAX_LINES }, (lines, i) => lines.string(i, '')),
      ),
    }),
  };
}
