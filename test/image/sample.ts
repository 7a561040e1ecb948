/** A small picture with known pixels, and parameters with everything set: shared by the tests of this folder. */

import { SanaImage } from '../../lib/image/image.ts';
import type { GenerationParameters } from '../../lib/request/types.ts';

export const PARAMETERS: GenerationParameters = {
  prompt: 'a red fox in snow',
  negativePrompt: 'blurry',
  width: 48,
  height: 32,
  numInferenceSteps: 20,
  guidanceScale: 4.5,
  scheduler: 'flow-dpm-solver',
  seed: '18446744073709551615',
  complexHumanInstruction: ['One line', 'User Prompt: '],
  cleanCaption: false,
  maxSequenceLength: 300,
  useResolutionBinning: true,
  decodeTiling: 'blend',
  latentsSha256: 'ab'.repeat(32),
  controlnetConditioningScale: 0.75,
  controlImageSha256: 'cd'.repeat(32),
  model: 'sana-tiny',
  modelFingerprint: '0123456789abcdef',
  dtype: 'float32',
  devicePath: 'avx512-bf16',
  version: '0.1.0',
};

/** 48 x 32, every pixel different from its neighbours. */
export function sampleImage(changes: Partial<GenerationParameters> = {}): SanaImage {
  const data = Uint8Array.from({ length: 48 * 32 * 3 }, (_, i) => (i * 7) % 256);
  return new SanaImage({ width: 48, height: 32, data }, { ...PARAMETERS, ...changes });
}

/** Numbers in [0, 1), the same for the same seed. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
