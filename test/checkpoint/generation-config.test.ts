import assert from 'node:assert/strict';
import { parseJsonObject } from '../../lib/base/json.ts';
import { parseGenerationConfig } from '../../lib/checkpoint/generation-config.ts';
import { parseVocabulary } from '../../lib/checkpoint/vocabulary.ts';
import { sanaError } from '../support/errors.ts';

const json = (object: object) => parseJsonObject(JSON.stringify(object), 'file.json');

describe('generation_config.json', () => {
  const parse = (object: object) => parseGenerationConfig(json(object), 'generation_config.json');

  it('leaves out what it does not contain', () => {
    assert.deepEqual(parse({}), {});
    assert.deepEqual(parse({ num_inference_steps: 10, unknown: 1 }), { numInferenceSteps: 10 });
  });

  it('distinguishes no instruction from one that is not mentioned', () => {
    assert.deepEqual(parse({ complex_human_instruction: null }), { complexHumanInstruction: null });
    assert.deepEqual(parse({ complex_human_instruction: ['Draw: '] }), { complexHumanInstruction: ['Draw: '] });
  });

  for (const [object, message] of [
    [{ num_inference_steps: 0 }, /`num_inference_steps` to be an integer from 1 to 500, found 0/],
    [{ num_inference_steps: 1e9 }, /an integer from 1 to 500/],
    [{ guidance_scale: '4' }, /`guidance_scale` to be a number/],
    [{ complex_human_instruction: 'Draw: ' }, /`complex_human_instruction` to be a list/],
    [{ complex_human_instruction: [1] }, /`complex_human_instruction.0` to be a string/],
  ] as const) {
    it(`rejects ${JSON.stringify(object)}`, () => {
      assert.throws(() => parse(object), sanaError('ERR_SANA_MODEL', message));
    });
  }
});

describe('vocabulary.json', () => {
  const parse = (object: object) => parseVocabulary(json(object), 'vocabulary.json');

  it('lists subjects, styles and backgrounds', () => {
    assert.deepEqual(parse({ subjects: ['cat'], styles: ['flat'] }), {
      subjects: ['cat'],
      styles: ['flat'],
      backgrounds: [],
    });
  });

  it('rejects what is no list of words', () => {
    assert.throws(() => parse({ subjects: 'cat' }), sanaError('ERR_SANA_MODEL', /`subjects` to be a list/));
    assert.throws(() => parse({ subjects: [{}] }), sanaError('ERR_SANA_MODEL', /`subjects.0` to be a string/));
  });
});
