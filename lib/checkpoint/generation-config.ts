/** `generation_config.json`, an optional file of a checkpoint folder: the defaults of requests to its model. */

import type { JsonObject } from '../base/json.ts';
import type { RequestDefaults } from '../request/types.ts';
import { MAX_STEPS } from '../schedulers/schedule.ts';
import { ConfigReader } from './config-reader.ts';

const MAX_LINES = 1000;

export function parseGenerationConfig(json: JsonObject, file: string): RequestDefaults {
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
