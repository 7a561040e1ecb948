import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { joinInstruction } from '../../lib/text/instruction.ts';
import { processPrompt } from '../../lib/text/prompt.ts';
import { selectText } from '../../lib/text/selection.ts';
import { Tokenizer } from '../../lib/text/tokenizer.ts';
import { sanaError } from '../support/errors.ts';
import { fixture, goldenTensors } from '../support/files.ts';

interface TextCase {
  readonly case: string;
  readonly prompts: readonly string[];
  readonly complex_human_instruction: readonly string[] | null;
  readonly max_sequence_length: number;
  readonly input_len: number;
  readonly valid?: readonly number[];
}

describe('selection', () => {
  it('selects the start token and what follows the instruction, without its last space', () => {
    const instruction = [2, 10, 11, 12]; // n = 4
    assert.deepEqual(selectText([2, 10, 11, 20, 21], 5, instruction), {
      ids: [2, 10, 11, 20, 21],
      prefixLength: 3,
      positions: [0, 3, 4],
    });
    assert.deepEqual(selectText([2, 10, 11, 12], 5, instruction), {
      ids: [2, 10, 11, 12],
      prefixLength: 3,
      positions: [0, 3],
    });
    // n + M - 2 tokens are read.
    const long = selectText([2, 10, 11, 20, 21, 22, 23, 24, 25], 5, instruction);
    assert.deepEqual(long, { ids: [2, 10, 11, 20, 21, 22, 23], prefixLength: 3, positions: [0, 3, 4, 5, 6] });
  });

  it('without an instruction it selects all of the first tokens', () => {
    assert.deepEqual(selectText([2], 3), { ids: [2], prefixLength: 0, positions: [0] });
    assert.deepEqual(selectText([2, 5, 6, 7, 8], 3), { ids: [2, 5, 6], prefixLength: 0, positions: [0, 1, 2] });
    assert.deepEqual(selectText([2, 5], 1), { ids: [2], prefixLength: 0, positions: [0] });
  });

  it('a prompt that changes the tokens of the instruction shares no prefix', () => {
    assert.equal(selectText([2, 10, 99, 20], 5, [2, 10, 11, 12]).prefixLength, 0);
    assert.equal(selectText([2, 10, 11], 1, [2, 10, 11, 12]).prefixLength, 0); // nothing is left to compute
  });

  it('rejects invalid lengths', () => {
    for (const length of [0, -1, 1.5, Number.NaN, 1e9]) {
      assert.throws(() => selectText([2], length), sanaError('ERR_SANA_ARGUMENT', 'maxSequenceLength'));
    }
  });

  it('gives the tokens and the mask of the reference, for every recorded text', async () => {
    const cases: readonly TextCase[] = JSON.parse(readFileSync(fixture('golden', 'text_cases.json'), 'utf8'));
    const golden = await goldenTensors('text');
    const tokenizer = await Tokenizer.load(fixture('sana-base', 'tokenizer'));
    let compared = 0;
    for (const { case: name, prompts, complex_human_instruction, max_sequence_length, valid } of cases) {
      const inputIds = golden.get(`${name}.input_ids`);
      if (inputIds === undefined || valid === undefined) continue; // nipp2: images per prompt, nothing new of text
      const instruction = joinInstruction(complex_human_instruction);
      const [instructionIds = [], ...ids] = await tokenizer.encodeBatch([
        instruction,
        ...prompts.map((prompt) => instruction + processPrompt(prompt)),
      ]);
      const width = inputIds.shape[1] ?? 0;
      prompts.forEach((_, row) => {
        const selected = selectText(ids[row] ?? [], max_sequence_length, instruction === '' ? [] : instructionIds);
        const expected = [...inputIds.data.subarray(row * width, (row + 1) * width)];
        assert.deepEqual([...selected.ids, ...Array(width - selected.ids.length).fill(0)], expected, name);
        assert.equal(selected.positions.length, valid[row], name);
        assert.equal(selected.prefixLength, Math.max(0, instruction === '' ? 0 : instructionIds.length - 1), name);
        compared++;
      });
    }
    assert.ok(compared >= 10, `${compared} compared`);
    tokenizer.dispose();
  });
});
