import assert from 'node:assert/strict';
import { PromptCache } from '../../lib/models/prompt-cache.ts';
import { loadTiny, pictures, small } from '../support/pipelines.ts';

const sequence = (...ids: number[]) => ({ ids, positions: ids.map((_, i) => i), prefixLength: 0 });
const embeds = (tokens: number) => ({ tokens, channels: 4, data: new Float32Array(4 * tokens) });

describe('the cache of prompts', () => {
  it('remembers by tokens and by which of them are kept', () => {
    const cache = new PromptCache();
    const one = embeds(2);
    cache.set(sequence(2, 7), one);
    assert.equal(cache.get(sequence(2, 7)), one);
    assert.equal(cache.get(sequence(2, 8)), undefined);
    assert.equal(cache.get({ ...sequence(2, 7), positions: [1] }), undefined);
  });

  it('evicts the least recently used entry if it is full, and never exceeds its limit', () => {
    const cache = new PromptCache(100);
    cache.set(sequence(1), embeds(2)); // 32 bytes each
    cache.set(sequence(2), embeds(2));
    cache.set(sequence(3), embeds(2));
    assert.equal(cache.bytes, 96);
    cache.get(sequence(1));
    cache.set(sequence(4), embeds(2));
    assert.deepEqual(
      [1, 2, 3, 4].map((id) => cache.get(sequence(id)) !== undefined),
      [true, false, true, true],
    );
    cache.set(sequence(4), embeds(1));
    assert.equal(cache.bytes, 80);
    cache.set(sequence(5), embeds(100));
    assert.equal(cache.bytes, 0);
  });

  it('gives the same picture, and spares the text encoder', async () => {
    await using pipe = await loadTiny();
    const [first] = pictures(await pipe.generate(small));
    const encoded = (await pipe.profile(small)).filter(({ name }) => name === 'text encoder');
    assert.deepEqual(encoded, []);
    assert.equal(pictures(await pipe.generate(small))[0], first);
    const other = (await pipe.profile({ ...small, prompt: 'an owl' })).filter(({ name }) => name === 'text encoder');
    assert.equal(other.length, 1); // the negative prompt is known, and so is the instruction
  });
});
