import assert from 'node:assert/strict';
import type { IconSet } from '../../training/concepts/icon-set.ts';
import { nameOf, selectConcepts, slugOf } from '../../training/concepts/select-concepts.ts';
import { premultiply, renderIcon } from '../../training/pictures/render-icon.ts';

const body = '<rect width="16" height="32" fill="#ff0000" fill-opacity="0.5"/>';
const set = (...names: string[]): IconSet => ({
  width: 32,
  height: 32,
  icons: Object.fromEntries(names.map((name) => [name, { body }])),
});

describe('concepts', () => {
  const subgroups = { 1: 'cat-face', 2: 'country-flag', 3: 'sound' };
  const entries = [
    { label: 'bell', subgroup: 3, order: 2, tags: ['ring', 'bell'] },
    { label: 'smiling cat with heart-eyes', subgroup: 1, order: 1, tags: [] },
    { label: 'flag: Chad', subgroup: 2, order: 3 },
    { label: 'bell with slash', subgroup: 3, order: 4 },
    { label: 'loudspeaker', subgroup: 3, order: 5 },
  ];

  it('are those that every set has, in the groups and of the lengths that people type', () => {
    const all = set('bell', 'smiling-cat-with-heart-eyes', 'flag-chad', 'bell-with-slash', 'loudspeaker');
    assert.deepEqual(selectConcepts(entries, subgroups, [all, all]), [
      { slug: 'smiling-cat-with-heart-eyes', name: 'smiling cat with heart eyes', keywords: [] },
      { slug: 'bell', name: 'bell', keywords: ['ring'] },
    ]);
    assert.deepEqual(selectConcepts(entries, subgroups, [all, set()]), []);
  });

  it('are named as icons are and as prompts do', () => {
    assert.equal(slugOf('woman’s hat'), 'womans-hat');
    assert.equal(slugOf('piñata'), 'pinata');
    assert.equal(slugOf('T-Rex'), 't-rex');
    assert.equal(nameOf('T-Rex'), 't rex');
    assert.equal(nameOf('woman’s hat'), 'womans hat');
  });
});

describe('pictures', () => {
  it('are drawn with colours weighted by their opacity', async () => {
    const pixels = await renderIcon(set('half'), 'half', 8);
    assert.equal(pixels.length, 8 * 8 * 4);
    const [red = 0, green, blue, alpha = 0] = pixels.subarray(0, 4);
    assert(Math.abs(red - alpha) <= 1 && Math.abs(alpha - 128) <= 1, `${[...pixels.subarray(0, 4)]}`);
    assert.deepEqual([green, blue], [0, 0]);
    assert.deepEqual([...pixels.subarray(28, 32)], [0, 0, 0, 0]);
  });

  it('round when they are weighted', () => {
    assert.deepEqual([...premultiply(Buffer.from([255, 100, 0, 128]))], [128, 50, 0, 128]);
  });

  it('are rejected with the name that is missing', async () => {
    await assert.rejects(renderIcon(set(), 'owl', 8), /'owl'/);
  });
});
