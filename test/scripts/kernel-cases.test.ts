import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { kernelCases, kernelCasesFile } from '../../scripts/bench/kernel-cases.ts';

describe('the cases that kernels are benchmarked on', () => {
  it('are what the models record: if not, run scripts/bench/kernel-cases.ts', () => {
    assert.equal(readFileSync(kernelCasesFile, 'utf8'), kernelCases());
  });

  it('count every call of a denoising step', () => {
    const lines = kernelCases().split('\n');
    const step = lines.filter((line) => line.endsWith('group=step-0.6b-512'));
    const calls = step.map((line) => Number(/ count=(\d+) /.exec(line)?.[1]));
    // 28 blocks of attention, cross-attention and feed-forward
    assert(step.some((line) => line.startsWith('linearAttention ') && line.includes(' count=28 ')));
    assert(calls.reduce((sum, count) => sum + count, 0) > 28 * 10);
    assert(step.length < 40, 'equal calls are one line');
  });
});
