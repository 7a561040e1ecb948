/** The options of `SanaPipeline.loadLora`, checked before any work. */

import { checkOptions } from './check.ts';
import type { Checked } from './field.ts';
import { checkKeys, checkName } from './fields.ts';
import { LORA, loraName } from './lora-table.ts';
import type { LoraOptions } from './types.ts';

const UNAVAILABLE = { weightName: 'pass the path of the file itself' };

export type CheckedLora = Checked<typeof LORA>;

export function checkLoraOptions(path: string, options: LoraOptions = {}): CheckedLora {
  checkName('path', path, 'the path of a .safetensors file, or of a folder that contains one');
  checkKeys('options', options, Object.keys(LORA), UNAVAILABLE);
  return checkOptions(LORA, { ...options });
}

export function checkLoraName(name: unknown): string {
  return loraName.check('name', name);
}
