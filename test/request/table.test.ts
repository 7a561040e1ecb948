import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { packageRoot } from '../../lib/base/package.ts';
import type { Field } from '../../lib/request/field.ts';
import { loadOptionsSchema, requestSchema } from '../../lib/request/json-schema.ts';
import { checkLoadOptions } from '../../lib/request/load-options.ts';
import { LOAD } from '../../lib/request/load-table.ts';
import type { ModelTraits } from '../../lib/request/model-traits.ts';
import { checkRecord, recordOf, requestOfRecord } from '../../lib/request/record.ts';
import { checkRequest } from '../../lib/request/request.ts';
import { REQUEST } from '../../lib/request/request-table.ts';
import { typesFile } from '../../scripts/generate/request-types.ts';

const SANA: ModelTraits = {
  kind: 'sana',
  nativeSize: 512,
  latentChannels: 32,
  compression: 32,
  maxTextPositions: 8192,
  schedulers: ['flow-dpm-solver', 'flow-euler'],
};
const SPRINT: ModelTraits = { ...SANA, kind: 'sprint', schedulers: ['scm'] };

describe('the table of options', () => {
  it('matches lib/request/types.ts', () => {
    const written = readFileSync(join(packageRoot, 'lib/request/types.ts'), 'utf8');
    assert.equal(written, typesFile(), 'Run npm run generate.');
  });

  it('has a one-line summary for every row, and a flag for every field that a text can express', () => {
    for (const [name, field] of [...Object.entries<Field>(REQUEST), ...Object.entries<Field>(LOAD)]) {
      assert.match(field.summary, /^[^A-Z\n][^\n]*[^.\n]$|^`/, name);
      const without = ['prompt', 'token', 'onStep', 'onProgress', 'signal'];
      assert.equal(field.flag === undefined, without.includes(name), name);
    }
  });

  it('gives JSON Schemas that ajv accepts', () => {
    const ajv = new Ajv({ strict: true, allowUnionTypes: true });
    const sana = ajv.compile(requestSchema(SANA));
    const sprint = ajv.compile(requestSchema(SPRINT));
    const any = ajv.compile(requestSchema());
    const load = ajv.compile(loadOptionsSchema());
    const takes = (request: object, model: ModelTraits) => {
      try {
        checkRequest(request as { prompt: string }, model);
        return true;
      } catch {
        return false;
      }
    };
    // What a row alone decides: the schema and checkRequest agree.
    for (const fields of [
      {},
      { negativePrompt: 'blurry' },
      { width: 640, height: 32, numInferenceSteps: 500, guidanceScale: -1.5 },
      { seed: 7 },
      { seed: -1 },
      { seed: 1.5 },
      { seed: '7' },
      { complexHumanInstruction: null },
      { complexHumanInstruction: ['a', 'b'] },
      { complexHumanInstruction: ['a', 7] },
      { complexHumanInstruction: 'a' },
      { maxSequenceLength: 1 },
      { maxSequenceLength: 8193 },
      { scheduler: 'flow-euler' },
      { scheduler: 'scm' },
      { scheduler: 'ddim' },
      { outputType: 'latent', decodeTiling: 'blend' },
      { outputType: 'pixels' },
      { pagScale: -1 },
      { pagScale: 2 },
      { maxTimesteps: 1.5 },
      { maxTimesteps: 1.6 },
      { intermediateTimesteps: null },
      { strength: 0 },
      { numImagesPerPrompt: 0 },
      { cleanCaption: 1 },
      { loraScale: 0.5 },
      { controlnetConditioningScale: 1 },
      { numInferenceSteps: 501 },
      { guidanceScale: '4.5' },
      { width: 8193 },
      { steps: 3 },
      { scheduler: 'flow-euler', sigmas: [1, 0.5] },
      { scheduler: 'flow-euler', sigmas: [1.5, 0.5] },
      { scheduler: 'flow-euler', timesteps: [999, 500] },
      { scheduler: 'flow-euler', timesteps: [] },
    ]) {
      const request = { prompt: 'a fox', ...fields };
      assert.equal(sana(request), takes(request, SANA), `${JSON.stringify(fields)} for SANA`);
      const asked: object = { ...fields };
      if (!('pagScale' in asked) && !('negativePrompt' in asked)) {
        assert.equal(sprint(request), takes(request, SPRINT), `${JSON.stringify(fields)} for Sprint`);
      }
      if (takes(request, SANA) || takes(request, SPRINT)) assert.ok(any(request), JSON.stringify(fields));
    }
    assert.ok(!any({}) && !any({ prompt: 7 }) && !any({ prompt: [] }) && any({ prompt: ['a', 'b'] }));
    for (const [options, fits] of [
      [{}, true],
      [{ device: 'cuda:1', dtype: 'int8', threads: 4, offload: 'sequential', instructionCache: null }, true],
      [{ device: 'gpu' }, false],
      [{ threads: 0 }, false],
      [{ variant: '../x' }, false],
      [{ onProgress: 1 }, false],
    ] as const) {
      assert.equal(load(options), fits, JSON.stringify(options));
      const check = () => checkLoadOptions(options as object);
      if (fits) assert.doesNotThrow(check);
      else assert.throws(check);
    }
  });

  it('records the request, from which the same request can be made again', () => {
    const request = checkRequest(
      { prompt: 'a fox', seed: 7, scheduler: 'flow-euler', sigmas: [1, 0.5, 0.1], pagScale: 1.5, width: 64 },
      SANA,
    );
    const on = { model: 'm', modelFingerprint: 'f', dtype: 'float32', devicePath: 'avx2', version: '1' } as const;
    const common = recordOf(request, { ...on, loras: [] }, () => '');
    const record = checkRecord(
      JSON.parse(JSON.stringify({ ...common, prompt: 'a fox', negativePrompt: '', seed: '7' })),
    );
    assert.deepEqual(record.sigmas, [1, 0.5, 0.1]);
    assert.equal('timesteps' in record, false);
    const again = checkRequest({ prompt: '', ...requestOfRecord(record) } as { prompt: string }, SANA);
    assert.deepEqual(again, request);
    assert.throws(() => checkRecord({ ...record, sigmas: ['1'] }));
  });

  it('has as many steps as a custom schedule', () => {
    const euler = { prompt: 'a fox', scheduler: 'flow-euler', timesteps: [900, 500, 100] } as const;
    assert.equal(checkRequest(euler, SANA).numInferenceSteps, 3);
    assert.equal(checkRequest({ ...euler, numInferenceSteps: 3 }, SANA).numInferenceSteps, 3);
    assert.throws(
      () => checkRequest({ ...euler, numInferenceSteps: 4 }, SANA),
      /to be 3, as many steps as `timesteps`/,
    );
    const { numInferenceSteps } = checkRequest({ prompt: 'a fox', timesteps: [1.5708, 1.3, 0.6, 0] }, SPRINT);
    assert.equal(numInferenceSteps, 3);
    assert.throws(
      () => checkRequest({ prompt: 'a fox', sigmas: [1] }, SANA),
      /flow-dpm-solver supports no custom schedule/,
    );
  });
});
