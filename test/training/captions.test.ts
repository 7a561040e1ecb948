import assert from 'node:assert/strict';
import { COLOURS } from '../../training/captions/colours.ts';
import { sample, seeded } from '../../training/captions/random.ts';
import { heldOutConcepts, unseenColours } from '../../training/captions/split.ts';
import { fits, KINDS, type Kind, keyOf, type Picture, writeCaptions } from '../../training/captions/write-captions.ts';

const concept = { slug: 'owl', name: 'owl', keywords: ['bird', 'wise', 'night'] };
const picture: Picture = { concept, style: 'flat', colour: 'teal' };
const plain: Picture = { concept, style: 'fluent', colour: 'white' };

describe('captions', () => {
  it('say the style and the colour unless their kind is silent on them', () => {
    const random = seeded(1);
    const says: Record<Kind, [boolean, boolean]> = {
      '': [true, true],
      _no_colour: [true, false],
      _no_style: [false, true],
      _bare: [false, false],
    };
    for (const kind of KINDS) {
      for (let i = 0; i < 50; i++) {
        for (const text of Object.values(writeCaptions(kind, plain, random))) {
          assert.deepEqual([/fluent/.test(text), /white/.test(text)], says[kind], `${kind}: ${text}`);
        }
      }
    }
  });

  it('are silent on white and fluent only', () => {
    assert.deepEqual(
      KINDS.filter((kind) => fits(kind, picture)),
      [''],
    );
    assert.deepEqual(
      KINDS.filter((kind) => fits(kind, plain)),
      [...KINDS],
    );
    assert.equal(fits('_no_style', { ...picture, style: 'fluent' }), true);
  });

  it('are the same for the same seed, with the article that fits', () => {
    const write = () => writeCaptions('', picture, seeded(3));
    assert.deepEqual(write(), write());
    const random = seeded(4);
    const texts = Array.from({ length: 100 }, () => writeCaptions('', picture, random).prompt ?? '');
    assert(texts.some((text) => text.startsWith('an owl')));
    assert(!texts.some((text) => /\ba owl/.test(text)));
    assert(new Set(texts).size >= 8, 'several wordings');
  });

  it('name a picture by what is in it', () => {
    assert.equal(keyOf(picture), 'owl.flat.teal');
  });
});

describe('the split', () => {
  it('keeps one concept in twenty from the autoencoder, always the same', () => {
    const held = heldOutConcepts(800);
    assert.equal(held.length, 40);
    assert.equal(new Set(held).size, 40);
    assert.deepEqual(held, heldOutConcepts(800));
  });

  it('keeps two colours of every concept from the transformer, never white', () => {
    const unseen = unseenColours(800);
    assert(unseen.every((colours) => colours.length === 2 && new Set(colours).size === 2));
    assert.deepEqual(new Set(unseen.flat()), new Set(Object.keys(COLOURS).filter((colour) => colour !== 'white')));
    assert.deepEqual(unseen.slice(0, 100), unseenColours(100));
  });
});

describe('a sample', () => {
  it('holds different elements, at most all', () => {
    assert.deepEqual(sample([1, 2, 3], 5, seeded(1)).sort(), [1, 2, 3]);
    assert.equal(new Set(sample([1, 2, 3, 4], 2, seeded(2))).size, 2);
  });
});
