import assert from 'node:assert/strict';
import { emptyTimes, timeGeneration } from '../../lib/bench/stages.ts';
import type { GenerateRequest, SanaPipeline } from '../../lib/index.ts';
import { loadTiny } from '../support/pipelines.ts';

describe('the stages that are timed', () => {
  it('are those of prompts that the pipeline has not encoded before', async () => {
    await using pipe = await loadTiny();
    const asked: GenerateRequest[] = [];
    const watched = {
      generate: (request: GenerateRequest) => {
        asked.push(request);
        return pipe.generate(request);
      },
    } as unknown as SanaPipeline;
    const times = emptyTimes();
    for (let run = 0; run < 2; run++) await timeGeneration(watched, times, { steps: 3, size: 64 });
    assert.equal(new Set(asked.map(({ prompt }) => prompt)).size, 2);
    assert.equal(new Set(asked.map(({ negativePrompt }) => negativePrompt)).size, 2);
    assert.deepEqual(
      Object.values(times).map(({ length }) => length),
      [2, 2, 2, 2],
    );
  });
});
