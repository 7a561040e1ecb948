import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seeded } from '../../training/captions/random.ts';
import {
  type Candidate,
  captionProbabilities,
  readCandidates,
  selectCaption,
} from '../../training/captions/select-caption.ts';
import { temporaryFolder } from '../support/files.ts';

const scored = (...scores: (number | undefined)[]): Candidate[] =>
  scores.map((score, i) => ({ text: `caption ${i}`, type: `t${i}`, ...(score !== undefined && { score }) }));

function assertNear(actual: readonly number[], expected: readonly number[], tolerance = 5e-4): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of expected.entries())
    assert(Math.abs((actual[i] ?? Number.NaN) - value) <= tolerance, `${actual}`);
}

describe('caption selection', () => {
  it('raises scores to a power, as the released models were trained', () => {
    assertNear(captionProbabilities(scored(25, 28, 30)), [0.097, 0.302, 0.601]);
    assertNear(captionProbabilities(scored(25, 28, 30), { temperature: 1 }), [25 / 83, 28 / 83, 30 / 83], 1e-12);
  });

  it('uses the softmax of the paper if requested', () => {
    const [low = 0, , high = 0] = captionProbabilities(scored(25, 28, 30), { mode: 'softmax' });
    assert(low > 1e-22 && low < 3e-22 && high > 0.999999);
    const mild = captionProbabilities(scored(1, 2), { mode: 'softmax', temperature: 1 });
    assertNear(mild, [1 / (1 + Math.E), Math.E / (1 + Math.E)], 1e-12);
  });

  it('leaves captions below the threshold out, before it weighs', () => {
    assertNear(captionProbabilities(scored(24.9, 25, 25)), [0, 0.5, 0.5], 1e-12);
    assertNear(captionProbabilities(scored(undefined, 30), { threshold: 0 }), [0, 1], 1e-12);
  });

  it('falls back on the best score, and without scores on the prompt', () => {
    assert.deepEqual(captionProbabilities(scored(10, 20, 15)), [0, 1, 0]);
    const unscored = [
      { text: 'a', type: 'reworded' },
      { text: 'b', type: 'prompt' },
    ];
    assert.deepEqual(captionProbabilities(unscored), [0, 1]);
    assert.deepEqual(captionProbabilities(scored(undefined, undefined)), [1, 0]);
  });

  it('stays finite at the lowest temperature', () => {
    assertNear(captionProbabilities(scored(99, 100), { temperature: 1e-9 }), [0.268, 0.732]); // as at 0.01
    assertNear(captionProbabilities(scored(99, 100), { mode: 'softmax', temperature: 1e-9 }), [0, 1]);
  });

  it('rejects an empty list of captions and a temperature of zero', () => {
    assert.throws(() => captionProbabilities([]), /at least one caption/);
    assert.throws(() => captionProbabilities(scored(30), { temperature: 0 }), /above 0/);
  });

  it('draws each caption as often as its probability', () => {
    const random = seeded(1);
    const counts = [0, 0, 0];
    for (let i = 0; i < 20000; i++) {
      const index = selectCaption(scored(25, 28, 30), random);
      counts[index] = (counts[index] ?? 0) + 1;
    }
    assertNear(
      counts.map((count) => count / 20000),
      [0.097, 0.302, 0.601],
      0.01,
    );
  });

  describe('files in the official layout', () => {
    const folder = temporaryFolder();

    it('are read by describer, with the scores that there are', async () => {
      const base = join(folder.path, 'captions');
      const write = (suffix: string, content: object) => writeFile(`${base}${suffix}.json`, JSON.stringify(content));
      await write('', { '0001': { prompt: 'a fox' }, '0002': { prompt: 'a cat' } });
      await write('_prompt_clip_score', { '0001': { prompt: 27.5 } });
      await write('_VLM', { '0001': { long: 'a red fox in snow', short: null } });
      await write('_VLM_clip_score', { '0001': { long: 31 } });
      const candidates = await readCandidates(base, ['', '_VLM']);
      assert.deepEqual(candidates.get('0001'), [
        { text: 'a fox', type: 'prompt', score: 27.5 },
        { text: 'a red fox in snow', type: 'long', score: 31 },
        { text: '', type: 'short' },
      ]);
      assert.deepEqual(candidates.get('0002'), [{ text: 'a cat', type: 'prompt' }]);
    });
  });
});
