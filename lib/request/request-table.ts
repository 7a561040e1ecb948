/**
 * The fields of a request to `SanaPipeline.generate`. Public types, checks, flags, `--from`, the records in pictures,
 * docs/options.md and the JSON Schema are all derived from these rows: `npm run generate` writes those that are files.
 *
 * Records have their fields in the order of the rows, so do not reorder rows: add a new one next to its group.
 */

import { MAX_TIMESTEPS, SCHEDULERS } from '../schedulers/index.ts';
import { INTERMEDIATE_TIMESTEPS } from '../schedulers/scm.ts';
import { DECODE_TILINGS, OUTPUT_TYPES } from './choices.ts';
import { always, CONTROLNET_ONLY, notSprint, ofModel, required, SPRINT_ONLY, type Table, unset } from './field.ts';
import { LIMITS } from './limits.ts';
import {
  boolean,
  callback,
  choice,
  integer,
  latents,
  lines,
  number,
  numbers,
  orNull,
  picture,
  pictures,
  seeds,
  seedText,
  signal,
  text,
  texts,
} from './value-types.ts';

/** More than any text encoder has; the actual limit is the model's. */
const MOST_POSITIONS = 2 ** 24;

/** The timestep at time 1, the same for every released model. */
const MOST_TRAINING_STEPS = 1000;

export const DEFAULT_STRENGTH = 0.6;
export const DEFAULT_CONDITIONING_SCALE = 1;

/** null or no lines: none. */
const instruction = orNull(lines(1000), '`null`: none');

const size = integer(LIMITS.minSize, LIMITS.maxSize, 'pixels');

export const REQUEST = {
  prompt: {
    type: texts,
    default: required,
    summary: 'what to draw',
    details: 'A list is drawn as one batch. Cut to `maxSequenceLength` tokens.',
    see: 'The first argument of the command line.',
    group: 'Prompt',
    recorded: { type: text, perImage: true },
  },
  negativePrompt: {
    type: texts,
    range: 'string, or a list with one for each prompt',
    default: unset("`''`"),
    summary: 'what to avoid',
    details: 'It has an effect only with guidance.',
    group: 'Prompt',
    models: notSprint('Sprint models have no negative prompt', (value) => [value].flat().every((each) => each === '')),
    flag: { value: '<text>' },
    recorded: { type: text, perImage: true },
  },
  seed: {
    type: seeds,
    default: unset('random, reported in `seeds`'),
    summary: 'where the noise comes from',
    details:
      'Image *i* of a call has the seed `seed + i`, with which it can be made again alone; a list has one for each image. As in torch, the noise depends only on the low 32 bits.',
    see: '`--seed 1,2,3` is a list.',
    group: 'Sampling',
    flag: { value: '<seed>', help: 'image i has seed + i; a list 1,2,3 has one for each' },
    recorded: { type: seedText, perImage: true, when: 'Decimal: a JSON number cannot hold all seeds.' },
  },
  width: {
    type: size,
    range: `${size.range}; multiples of 32 without \`useResolutionBinning\``,
    default: unset("the model's native size; with `image`, the picture's"),
    summary: 'width of the pictures',
    group: 'Size',
    flag: { value: '<pixels>', short: '-W' },
    recorded: {},
    byRule: true,
  },
  height: {
    type: size,
    range: 'as `width`',
    default: unset("the model's native size; with `image`, the picture's"),
    summary: 'height of the pictures',
    group: 'Size',
    flag: { value: '<pixels>', short: '-H' },
    recorded: {},
    byRule: true,
  },
  numInferenceSteps: {
    type: integer(1, LIMITS.maxSteps),
    default: ofModel(
      "the checkpoint's `generation_config.json`, else 20; Sprint 2",
      ({ kind, defaults }) => defaults?.numInferenceSteps ?? (kind === 'sprint' ? 2 : 20),
    ),
    summary: 'denoising steps',
    group: 'Sampling',
    flag: { value: '<count>', alias: 'steps' },
    recorded: {},
  },
  guidanceScale: {
    type: number(),
    default: ofModel("the checkpoint's, else 4.5", ({ defaults }) => defaults?.guidanceScale ?? 4.5),
    summary: 'strength of the prompt',
    details: 'At 1 or less there is no guidance, which halves the work. Sprint models embed it at no extra cost.',
    group: 'Guidance',
    flag: { value: '<number>', help: '1: without guidance' },
    recorded: {},
  },
  scheduler: {
    type: choice(SCHEDULERS, 'SchedulerName'),
    narrow: ({ schedulers }) => choice(schedulers),
    range: "`'flow-dpm-solver'`, `'flow-euler'`; Sprint `'scm'` only",
    default: ofModel("the model's own", ({ schedulers }) => schedulers[0]),
    summary: 'the sampler',
    group: 'Sampling',
    flag: { value: '<name>' },
    recorded: {},
  },
  complexHumanInstruction: {
    type: { ...instruction, check: (field, value) => (value === null ? [] : (instruction.check(field, value) ?? [])) },
    default: ofModel("the checkpoint's, else that of the released models", ({ defaults }) => {
      return defaults?.complexHumanInstruction;
    }),
    summary: 'text before the prompt',
    group: 'Prompt',
    flag: { value: '<text>', no: 'no text before the prompt' },
    recorded: {
      when: 'Only when it was not the default one; `null`: none.',
      type: instruction,
      value: (lines: readonly string[]) => (lines.length === 0 ? null : lines),
    },
  },
  cleanCaption: {
    type: boolean,
    default: always(false),
    summary: 'strip links, tags and file names from prompts',
    group: 'Prompt',
    flag: {},
    recorded: {},
  },
  maxSequenceLength: {
    // With an instruction, position 0 and the last `maxSequenceLength - 1` are used: 1 would leave nothing of the prompt.
    type: integer(2, MOST_POSITIONS, 'tokens'),
    narrow: ({ maxTextPositions }) => integer(2, maxTextPositions, 'tokens'),
    range: "tokens, integer, 2 to the text encoder's positions (Gemma-2: 8192)",
    default: ofModel('300, or the positions if there are fewer', ({ maxTextPositions }) =>
      Math.min(300, maxTextPositions),
    ),
    summary: 'how much of the prompt is used',
    group: 'Prompt',
    flag: { value: '<tokens>' },
    recorded: {},
  },
  useResolutionBinning: {
    type: boolean,
    range: 'boolean; `true` only for models of 512, 1024, 2048 and 4096 pixels',
    default: ofModel('`true` for these', ({ bin }) => bin !== undefined),
    summary: 'draw at the nearest size that the model was trained on, then resize and crop',
    group: 'Size',
    flag: { no: 'draw at the requested size, a multiple of 32' },
    recorded: {},
  },
  decodeTiling: {
    type: choice(DECODE_TILINGS, 'DecodeTiling'),
    default: always('auto'),
    summary: 'how latents become pixels',
    details:
      '`auto`: exactly, in bands if the picture is high or does not fit into memory. `blend`: like diffusers with tiling enabled, for comparisons: overlapping tiles of 512 pixels (1024 for models of 4096 pixels) are decoded independently and blended at their edges; the seams are visible.',
    see: 'See [decoding](memory.md#decoding).',
    group: 'Output',
    flag: { value: '<how>' },
    recorded: { when: 'Only when it was not `auto`.', except: 'auto' },
  },
  maxTimesteps: {
    type: number({ above: 0, max: MAX_TIMESTEPS, noun: 'an angle', unit: 'radians' }),
    default: unset(`${MAX_TIMESTEPS}`),
    summary: 'where the first step starts',
    group: 'Sampling',
    models: SPRINT_ONLY,
    flag: { value: '<angle>' },
    recorded: { when: 'Only when it was given.' },
  },
  intermediateTimesteps: {
    type: orNull(number({ above: 0, max: MAX_TIMESTEPS, noun: 'an angle' }), '`null`: halfway', 'none'),
    range: 'angle, above 0, up to `maxTimesteps`; `null`: halfway',
    default: unset(`${INTERMEDIATE_TIMESTEPS} with two steps`),
    summary: 'where the second of two steps starts',
    details: 'Only with two steps.',
    see: '`--intermediate-timesteps none` is `null`.',
    group: 'Sampling',
    models: SPRINT_ONLY,
    flag: { value: '<angle>', help: "'none': halfway" },
    recorded: { when: 'Only when it was given.' },
  },
  timesteps: {
    type: numbers(number({ min: 0, max: MOST_TRAINING_STEPS }), 1, LIMITS.maxSteps + 1),
    range: `list of up to ${LIMITS.maxSteps}, decreasing: above 0, up to ${MOST_TRAINING_STEPS}; Sprint: angles above 0, up to ${MAX_TIMESTEPS}, then 0`,
    default: unset("the sampler's own"),
    summary: "times of the steps, instead of the sampler's own",
    details:
      "As in diffusers: `'flow-euler'` shifts them like its own; `'scm'` takes the angle of each step and a 0 at the end. `numInferenceSteps` is the number of steps in the list.",
    group: 'Sampling',
    flag: { value: '<list>', help: "999,749,499 with 'flow-euler'" },
    recorded: { when: 'Only when it was given.' },
  },
  sigmas: {
    type: numbers(number({ above: 0, max: 1 }), 1, LIMITS.maxSteps),
    range: `list of up to ${LIMITS.maxSteps}, decreasing: above 0, up to 1`,
    default: unset("the sampler's own"),
    summary: "noise levels of the steps, instead of the sampler's own",
    details:
      "As in diffusers: only with `'flow-euler'`, which shifts them like its own. `numInferenceSteps` is the length of the list.",
    group: 'Sampling',
    flag: { value: '<list>', help: "1,0.7,0.3 with 'flow-euler'" },
    recorded: { when: 'Only when it was given.' },
  },
  pagScale: {
    type: number({ min: 0, max: 1000 }),
    default: always(0),
    summary: 'strength of perturbed-attention guidance',
    details:
      'How far to move away from what the model draws when the tokens of one block attend only to themselves. 0 turns it off; a step takes half as long again with it. The official demo uses 2.',
    see: 'See [perturbed-attention guidance](models.md#perturbed-attention-guidance).',
    group: 'Guidance',
    models: notSprint('Sprint models embed their guidance', (value) => value === 0),
    flag: { value: '<number>' },
    recorded: { when: 'Only with perturbed-attention guidance.', except: 0 },
  },
  strength: {
    type: number({ above: 0, max: 1 }),
    default: unset(`${DEFAULT_STRENGTH}; with \`maskImage\` 1`),
    summary: 'how much of the picture to change',
    details:
      'The share of the steps that are run, starting from the latents of `image` with the noise of that level. It needs `image`.',
    group: 'Image to image',
    flag: { value: '<number>' },
    recorded: { when: 'Only for image to image.' },
  },
  image: {
    type: picture,
    default: unset('none'),
    summary: 'picture to start from instead of noise',
    details: 'If no size is given, its own size is used.',
    see: 'See [image to image](models.md#image-to-image).',
    group: 'Image to image',
    flag: { value: '<file>' },
    recorded: {
      digest: 'imageSha256',
      digestDoc: 'Only for image to image: SHA-256 of the RGB bytes of `image`, hexadecimal.',
      digestOf: 'picture to start from',
    },
    byRule: true,
  },
  maskImage: {
    type: picture,
    range: 'as `image`',
    default: unset('none'),
    summary: 'draw only where this picture is white',
    details:
      'Where it is black, the pixels of `image` are kept exactly; grey gives a mixture, so a soft edge gives a soft transition. It needs `image`.',
    see: 'See [inpainting](models.md#inpainting).',
    group: 'Image to image',
    flag: { value: '<file>' },
    recorded: {
      digest: 'maskSha256',
      digestDoc: 'Only for inpainting: SHA-256 of the RGB bytes of `maskImage`, hexadecimal.',
      digestOf: 'mask',
    },
    byRule: true,
  },
  latents: {
    type: latents,
    default: unset('noise from `seed`'),
    summary: 'latents to start from instead of noise',
    details: 'They have the size that the model draws at.',
    see: '`--latents FILE.safetensors`.',
    group: 'Sampling',
    flag: { value: '<file>', help: 'a .safetensors file' },
    recorded: {
      digest: 'latentsSha256',
      digestDoc:
        "Only when the image did not start from the seed's noise: SHA-256 of its start latents' bytes, hexadecimal.",
    },
    byRule: true,
  },
  controlnetConditioningScale: {
    type: number(),
    default: unset(`${DEFAULT_CONDITIONING_SCALE}`),
    summary: 'how much the ControlNet adds',
    details: '0: nothing.',
    group: 'ControlNet',
    models: CONTROLNET_ONLY,
    flag: { value: '<number>' },
    recorded: { when: 'Only for models with a ControlNet.' },
  },
  controlImage: {
    type: pictures,
    default: unset('none; a model with a ControlNet requires it'),
    summary: 'control picture: an edge or scribble map',
    details: 'It is stretched to the size that the model draws at, but does not set that size.',
    group: 'ControlNet',
    models: CONTROLNET_ONLY,
    flag: { value: '<file>' },
    recorded: {
      digest: 'controlImageSha256',
      digestDoc: 'Only with a control image: SHA-256 of its RGB bytes, hexadecimal.',
      digestOf: 'control image',
      perImage: true,
    },
    byRule: true,
  },
  loraScale: {
    type: number(),
    default: unset('1'),
    summary: 'multiplies the scales of all adapters',
    details:
      'For this call: the weights are merged again if it differs from the previous call. An error without an adapter.',
    see: 'See [LoRA](lora.md).',
    group: 'LoRA',
    flag: { value: '<number>' },
    recorded: { when: 'Only when it was not 1.', except: 1 },
  },
  numImagesPerPrompt: {
    type: integer(1, LIMITS.maxImages),
    range: `integer, 1 to ${LIMITS.maxImages}; prompts x images at most ${LIMITS.maxImages}`,
    default: always(1),
    summary: 'images of each prompt',
    group: 'Output',
    flag: { value: '<count>', short: '-n' },
  },
  outputType: {
    type: choice(OUTPUT_TYPES),
    default: always('image'),
    summary: "`'latent'` stops before decoding",
    details: '`images` is then empty, and `latents` is set.',
    group: 'Output',
    flag: { value: '<type>', help: 'it needs -o NAME.safetensors' },
  },
  onStep: {
    type: callback<(step: never) => void | Promise<void>>(
      '(step: Step) => void | Promise<void>',
      'function, may return a promise',
    ),
    default: unset('none'),
    summary: 'called after each step',
    details:
      'A promise that it returns is awaited before the next step, and an error that it throws ends the call. Do not await another call or `dispose` of the same pipeline in it: they wait for this call to end.',
    group: 'Call',
  },
  signal: {
    type: signal,
    default: unset('none'),
    summary: 'ends the call',
    details: 'The call rejects with `signal.reason`, at the latest after the operator that is running.',
    group: 'Call',
  },
} as const satisfies Table;
