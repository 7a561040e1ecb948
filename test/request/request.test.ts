import assert from 'node:assert/strict';
import { SanaError } from '../../lib/base/errors.ts';
import type { ModelTraits } from '../../lib/request/model-traits.ts';
import { checkRequest } from '../../lib/request/request.ts';
import type { ReadRequest } from '../../lib/request/types.ts';

const SANA: ModelTraits = {
  kind: 'sana',
  nativeSize: 512,
  latentChannels: 32,
  compression: 32,
  maxTextPositions: 8192,
  schedulers: ['flow-dpm-solver', 'flow-euler'],
};
const BINNED: ModelTraits = { ...SANA, bin: ({ width, height }) => (width > height ? wide : square) };
const SPRINT: ModelTraits = { ...SANA, kind: 'sprint', schedulers: ['scm'] };
const CONTROLNET: ModelTraits = { ...SANA, kind: 'controlnet' };
const wide = { width: 704, height: 352 };
const square = { width: 512, height: 512 };

function check(fields: object, model: ModelTraits = SANA) {
  return checkRequest({ prompt: 'a fox', ...fields } as ReadRequest, model);
}

const picture = { width: 64, height: 32, data: new Uint8Array(64 * 32 * 3) };

/** Latents of a shape. */
function latents(...shape: number[]) {
  return { data: new Float32Array(shape.reduce((product, n) => product * n, 1)), shape };
}

describe('a request', () => {
  it('needs nothing but a prompt', () => {
    const { seeds, ...checked } = checkRequest('a fox', SANA);
    assert.deepEqual(checked, {
      prompts: ['a fox'],
      negativePrompts: [''],
      width: 512,
      height: 512,
      drawnWidth: 512,
      drawnHeight: 512,
      numInferenceSteps: 20,
      guidanceScale: 4.5,
      guided: true,
      pagScale: 0,
      scheduler: 'flow-dpm-solver',
      maxTimesteps: undefined,
      intermediateTimesteps: undefined,
      timesteps: undefined,
      sigmas: undefined,
      numImagesPerPrompt: 1,
      batch: 1,
      latents: undefined,
      control: undefined,
      image: undefined,
      maskImage: undefined,
      strength: undefined,
      firstStep: 0,
      complexHumanInstruction: undefined,
      cleanCaption: false,
      maxSequenceLength: 300,
      useResolutionBinning: false,
      loraScale: undefined,
      outputType: 'image',
      decodeTiling: 'auto',
      onStep: undefined,
      signal: undefined,
    });
    assert.equal(seeds.length, 1);
  });

  it('treats undefined fields as left out', () => {
    const fields = {
      width: undefined,
      seed: undefined,
      negativePrompt: undefined,
      latents: undefined,
      image: undefined,
    };
    assert.equal(check({ ...fields, complexHumanInstruction: undefined }).width, 512);
  });

  it('keeps every field that is given', () => {
    const onStep = () => {};
    const { signal } = new AbortController();
    const given = {
      negativePrompt: 'blurry',
      width: 640,
      height: 32,
      numInferenceSteps: 500,
      guidanceScale: 1,
      scheduler: 'flow-euler',
      cleanCaption: true,
      maxSequenceLength: 8192,
      useResolutionBinning: false,
      outputType: 'latent',
      decodeTiling: 'blend',
      onStep,
      signal,
    };
    const { negativePrompt, ...same } = given;
    const checked: object = check(given);
    assert.deepEqual({ ...checked, ...same }, checked);
    assert.deepEqual(check(given).negativePrompts, [negativePrompt]);
  });

  it('has two steps and its own scheduler for a Sprint model', () => {
    const { numInferenceSteps, scheduler } = check({}, SPRINT);
    assert.deepEqual([numInferenceSteps, scheduler], [2, 'scm']);
    assert.deepEqual(check({ negativePrompt: '' }, SPRINT).negativePrompts, ['']);
  });

  describe('makes images', () => {
    it('of several prompts, several of each', () => {
      const checked = check({ prompt: ['a', 'b', 'c'], numImagesPerPrompt: 2, negativePrompt: 'x', seed: 5 });
      assert.equal(checked.batch, 6);
      assert.deepEqual(checked.negativePrompts, ['x', 'x', 'x']);
      assert.deepEqual(checked.seeds, [5n, 6n, 7n, 8n, 9n, 10n]);
      assert.deepEqual(check({ prompt: ['a', 'b'], negativePrompt: ['x', 'y'] }).negativePrompts, ['x', 'y']);
    });

    it('each with its own seed, up to the largest one', () => {
      assert.deepEqual(check({ seed: 2n ** 64n - 2n, numImagesPerPrompt: 2 }).seeds, [2n ** 64n - 2n, 2n ** 64n - 1n]);
      assert.deepEqual(check({ seed: [9, 3n], numImagesPerPrompt: 2 }).seeds, [9n, 3n]);
      assert.deepEqual(check({ seed: Number.MAX_SAFE_INTEGER }).seeds, [2n ** 53n - 1n]);
      assert.deepEqual(check({ seed: 0 }).seeds, [0n]);
    });

    it('with a random seed if none is given, from which the images count up', () => {
      const first = new Set(Array.from({ length: 50 }, () => check({}).seeds[0]));
      assert.ok(first.size > 45);
      const [a = 0n, b] = check({ numImagesPerPrompt: 2 }).seeds;
      assert.equal(b, a + 1n);
    });
  });

  describe('is of a size', () => {
    it('that is drawn as it is without binning', () => {
      const { width, height, drawnWidth, drawnHeight } = check({ width: 8192, height: 32 });
      assert.deepEqual([width, height, drawnWidth, drawnHeight], [8192, 32, 8192, 32]);
    });

    it('that is drawn at the nearest trained size with binning, the default for models that have it', () => {
      const { width, height, drawnWidth, drawnHeight, useResolutionBinning } = check(
        { width: 1001, height: 499 },
        BINNED,
      );
      assert.equal(useResolutionBinning, true);
      assert.deepEqual([width, height, drawnWidth, drawnHeight], [1001, 499, 704, 352]);
      assert.equal(check({ width: 960, useResolutionBinning: false }, BINNED).drawnWidth, 960);
    });
  });

  describe('starts from latents', () => {
    it('of the size that is drawn, which are copied', () => {
      const given = latents(2, 32, 11, 22);
      const checked = check({ latents: given, width: 1000, height: 500, numImagesPerPrompt: 2 }, BINNED);
      given.data[0] = 7;
      assert.equal(checked.latents?.data[0], 0);
      assert.deepEqual(checked.latents?.shape, [2, 32, 11, 22]);
    });
  });

  it('has no instruction if it is null or empty, and copies a given one', () => {
    assert.deepEqual(check({ complexHumanInstruction: null }).complexHumanInstruction, []);
    assert.deepEqual(check({ complexHumanInstruction: [] }).complexHumanInstruction, []);
    assert.deepEqual(check({ complexHumanInstruction: ['a', 'b'] }).complexHumanInstruction, ['a', 'b']);
  });

  it('may have a prompt of 100 kB, of any characters', () => {
    for (const prompt of ['fox '.repeat(25_000), '🦊'.repeat(50_000), '\0\u001b\n', '']) {
      assert.deepEqual(check({ prompt }).prompts, [prompt]);
    }
  });

  const rejected: readonly [string, object, RegExp, RegExp?][] = [
    ['no prompt', { prompt: undefined }, /`prompt` to be a string or a list of strings, got undefined/],
    ['a prompt that is no text', { prompt: 7 }, /`prompt`.*got 7 \(number\)/],
    ['a prompt that is null', { prompt: null }, /`prompt`.*got null/],
    ['an empty list of prompts', { prompt: [] }, /`prompt` to be a list of 1 to 64 elements, got an array of 0/],
    ['65 prompts', { prompt: Array(65).fill('a') }, /`prompt` to be a list of 1 to 64/],
    ['a list with something else in it', { prompt: ['a', 7] }, /`prompt\[1\]` to be a string, got 7/],
    ['a list of holes', { prompt: Array<string>(2) }, /`prompt\[0\]`.*undefined/],
    ['a lone surrogate', { prompt: 'a\ud83d' }, /`prompt` to be well-formed text/, /code points/],
    ['the other half', { prompt: ['\udd8a'] }, /`prompt\[0\]` to be well-formed text/],
    ['too long a prompt', { prompt: 'x'.repeat(100_001) }, /`prompt` to be a string of at most 100000 characters/],
    ['a negative prompt that is no text', { negativePrompt: 7 }, /`negativePrompt`.*got 7/],
    ['a negative prompt that is null', { negativePrompt: null }, /`negativePrompt`.*null/],
    [
      'more negative prompts than prompts',
      { negativePrompt: ['a', 'b'] },
      /`negativePrompt` to be a list of one element, got/,
    ],
    [
      'a width that is no multiple of 32',
      { width: 1000 },
      /^Expected `width` to be a multiple of 32 from 32 to 8192, got 1000 \(number\)$/,
      /992 or 1024/,
    ],
    ['a height of 0', { height: 0 }, /`height` to be a multiple of 32/],
    ['a negative height', { height: -32 }, /`height` to be a multiple of 32/],
    ['too large a width', { width: 8224 }, /`width` to be a multiple of 32 from 32 to 8192/],
    ['a width in a string', { width: '512' }, /`width`.*'512' \(string\)/],
    ['a width that is NaN', { width: Number.NaN }, /`width`.*NaN/],
    ['a width that is null', { width: null }, /`width`.*null/],
    ['a fraction', { width: 512.5 }, /`width`/, /512 or 544/],
    ['no steps', { numInferenceSteps: 0 }, /`numInferenceSteps` to be an integer from 1 to 500, got 0/],
    ['too many steps', { numInferenceSteps: 501 }, /`numInferenceSteps` to be an integer from 1 to 500/],
    ['half a step', { numInferenceSteps: 1.5 }, /`numInferenceSteps`/],
    ['infinite guidance', { guidanceScale: Number.POSITIVE_INFINITY }, /`guidanceScale` to be a finite number/],
    ['guidance that is NaN', { guidanceScale: Number.NaN }, /`guidanceScale`/],
    ['guidance that float32 cannot hold', { guidanceScale: 1e39 }, /`guidanceScale`/],
    ['guidance in a string', { guidanceScale: '4.5' }, /`guidanceScale`/],
    [
      'an unknown scheduler',
      { scheduler: 'euler_a' },
      /`scheduler` to be 'flow-dpm-solver' or 'flow-euler', got 'euler_a'/,
    ],
    ['a scheduler of other models', { scheduler: 'scm' }, /`scheduler`/],
    ['no images', { numImagesPerPrompt: 0 }, /`numImagesPerPrompt` to be an integer from 1 to 64/],
    ['65 images', { numImagesPerPrompt: 65 }, /`numImagesPerPrompt`/],
    [
      '66 images in all',
      { prompt: ['a', 'b'], numImagesPerPrompt: 33 },
      /`numImagesPerPrompt` to be at most 32 with 2 prompts/,
    ],
    [
      'a seed of -1',
      { seed: -1 },
      /`seed` to be an integer from 0 to 2\^64 - 1, got -1/,
      /Leave `seed` out for a random one/,
    ],
    ['a seed that is null', { seed: null }, /`seed`/, /random/],
    ['a seed that is no integer', { seed: 1.5 }, /`seed`/],
    ['a seed that is not exact', { seed: 2 ** 53 }, /`seed`.*bigint above 2\^53 - 1/],
    ['too large a seed', { seed: 2n ** 64n }, /`seed`/],
    ['a seed in a string', { seed: '7' }, /`seed`/],
    [
      'a seed whose images would pass the last',
      { seed: 2n ** 64n - 1n, numImagesPerPrompt: 2 },
      /`seed` to be at most 2\^64 - 2/,
    ],
    [
      'fewer seeds than images',
      { seed: [1], numImagesPerPrompt: 2 },
      /`seed`.*a list of 2: one per image.*an array of 1/,
    ],
    ['a wrong seed in a list', { seed: [1, -1], numImagesPerPrompt: 2 }, /`seed\[1\]`/],
    ['latents that are none', { latents: 7 }, /`latents` to be a Float32Array with shape \[1, 32, 16, 16\]/],
    [
      'latents of other numbers',
      { latents: { data: new Float64Array(8192), shape: [1, 32, 16, 16] } },
      /`latents.data` to be a Float32Array/,
    ],
    ['latents without a shape', { latents: { data: new Float32Array(8192) } }, /`latents.shape`/],
    [
      'latents of another size',
      { latents: latents(1, 32, 16, 17) },
      /\[1, 32, 16, 16\], got 8704 numbers with shape \[1, 32, 16, 17\]/,
      /512 x 512 pixels/,
    ],
    ['latents of another batch', { latents: latents(2, 32, 16, 16) }, /`latents`/],
    ['latents of another rank', { latents: latents(32, 16, 16) }, /`latents`/],
    ['latents whose shape lies', { latents: { data: new Float32Array(3), shape: [1, 32, 16, 16] } }, /got 3 numbers/],
    [
      'latents with a NaN',
      { latents: { data: new Float32Array(8192).fill(Number.NaN, 5, 6), shape: [1, 32, 16, 16] } },
      /`latents.data\[5\]`/,
    ],
    ['an instruction that is one text', { complexHumanInstruction: 'a' }, /`complexHumanInstruction` to be a list/],
    [
      'an instruction with something else in it',
      { complexHumanInstruction: ['a', 7] },
      /`complexHumanInstruction\[1\]`/,
    ],
    [
      'too long an instruction',
      { complexHumanInstruction: ['x'.repeat(60_000), 'y'.repeat(60_000)] },
      /`complexHumanInstruction`/,
    ],
    ['cleanCaption that is no boolean', { cleanCaption: 1 }, /`cleanCaption` to be true or false/],
    ['a sequence length of 1', { maxSequenceLength: 1 }, /`maxSequenceLength` to be an integer from 2 to 8192/],
    ['a sequence longer than the encoder', { maxSequenceLength: 8193 }, /`maxSequenceLength`/],
    ['binning where there is none', { useResolutionBinning: true }, /`useResolutionBinning` cannot be true/],
    ['binning that is no boolean', { useResolutionBinning: 'yes' }, /`useResolutionBinning` to be true or false/],
    ['an unknown output type', { outputType: 'pil' }, /`outputType` to be 'image' or 'latent', got 'pil'/],
    ['another way of tiling', { decodeTiling: true }, /`decodeTiling` to be 'auto' or 'blend', got true/],
    ['a callback that is none', { onStep: {} }, /`onStep` to be a function/],
    ['a signal that is none', { signal: { aborted: false } }, /`signal` to be an AbortSignal/],
    [
      'a control image without a ControlNet',
      { controlImage: 'c.png' },
      /`controlImage` cannot be used here: the model has no ControlNet/,
      /Leave `controlImage` out, or load a ControlNet/,
    ],
    [
      'a conditioning scale without a ControlNet',
      { controlnetConditioningScale: 1 },
      /`controlnetConditioningScale` cannot be used here: the model has no ControlNet/,
    ],
    ['a strength without an image', { strength: 0.5 }, /`strength` cannot be used here: there is no `image`/],
    ['a mask without an image', { maskImage: picture }, /`maskImage` cannot be used here: there is no `image`/],
    ['strength 0', { image: picture, strength: 0 }, /`strength` to be a number above 0 and up to 1/],
    ['a negative pagScale', { pagScale: -1 }, /`pagScale` to be a number from 0 to 1000/],
    ['a LoRA scale that is no number', { loraScale: '1' }, /`loraScale` to be a finite number/],
    [
      'snake case',
      { num_inference_steps: 4 },
      /unknown key, `num_inference_steps`/,
      /Did you mean `numInferenceSteps`/,
    ],
    ['another tool’s name', { steps: 4 }, /unknown key, `steps`/, /`numInferenceSteps`/],
    ['a typo', { gudanceScale: 4 }, /unknown key, `gudanceScale`/, /`guidanceScale`/],
    ['a typo in a beginning', { gudance: 4 }, /unknown key/, /`guidanceScale`/],
    ['a part of a name', { binning: true }, /unknown key/, /`useResolutionBinning`/],
    ['a key like nothing here', { zebra: 1 }, /unknown key, `zebra`/, /Known keys: prompt, negativePrompt/],
    ['a key of every object', { constructor: 1 }, /unknown key, `constructor`/],
  ];
  for (const [what, fields, message, hint] of rejected) {
    it(`is rejected for ${what}`, () => {
      assert.throws(
        () => check(fields),
        (error) => {
          assert.ok(error instanceof SanaError, String(error));
          assert.equal(error.code, 'ERR_SANA_ARGUMENT');
          assert.match(error.message, message);
          assert.match(error.hint, hint ?? /./);
          return true;
        },
      );
    });
  }

  it('is rejected if it is not an object', () => {
    for (const request of [null, undefined, 7, [], true]) {
      assert.throws(() => checkRequest(request as unknown as string, SANA), /`request` to be an object/);
    }
  });

  it('is rejected for sizes outside 32 to 8192 with binning too', () => {
    for (const width of [31, 8193, 512.5, '512', null]) {
      assert.throws(() => check({ width }, BINNED), /`width` to be an integer from 32 to 8192/);
    }
    assert.throws(
      () => check({ width: 1000, useResolutionBinning: false }, BINNED),
      (error) => error instanceof SanaError && /`useResolutionBinning: true` allows any size/.test(error.hint),
    );
  });

  it('is rejected for a negative prompt to a Sprint model', () => {
    assert.throws(
      () => check({ negativePrompt: 'blurry' }, SPRINT),
      /`negativePrompt`.*Sprint models have no negative prompt/,
    );
  });

  describe('to a model with a ControlNet', () => {
    const picture = { width: 1, height: 1, data: new Uint8Array(3) };

    it('has one picture for all prompts, or a list of one for each, and a scale of 1', () => {
      assert.deepEqual(check({ controlImage: picture }, CONTROLNET).control, { images: [picture], scale: 1 });
      const fields = { prompt: ['a', 'b'], controlImage: [picture, picture], controlnetConditioningScale: 0 };
      assert.deepEqual(check(fields, CONTROLNET).control, { images: [picture, picture], scale: 0 });
      assert.deepEqual(check({ prompt: ['a', 'b'], controlImage: picture }, CONTROLNET).control?.images, [picture]);
    });

    it('may do without a picture when nothing is drawn', () => {
      assert.deepEqual(checkRequest('a fox', CONTROLNET, true).control, { images: [], scale: 1 });
    });

    for (const [what, fields, message] of [
      ['no picture', {}, /`controlImage` to be a picture, because the model has a ControlNet, got undefined/],
      [
        'more pictures than prompts',
        { controlImage: [picture, picture] },
        /`controlImage` to be a list of one element, got/,
      ],
      ['fewer pictures than prompts', { prompt: ['a', 'b'], controlImage: [picture] }, /a list of 2 elements/],
      ['a scale in a string', { controlImage: picture, controlnetConditioningScale: '1' }, /to be a finite number/],
      ['a scale that is NaN', { controlImage: picture, controlnetConditioningScale: Number.NaN }, /`controlnetCond/],
      ['a scale that float32 cannot hold', { controlImage: picture, controlnetConditioningScale: 1e39 }, /finite/],
    ] as const) {
      it(`is rejected for ${what}`, () => {
        const refused = (error: unknown) =>
          error instanceof SanaError && error.code === 'ERR_SANA_ARGUMENT' && message.test(error.message);
        assert.throws(() => check(fields, CONTROLNET), refused);
      });
    }
  });
});
