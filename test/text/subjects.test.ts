import assert from 'node:assert/strict';
import { subjectsIn } from '../../lib/text/subjects.ts';

const subjects = ['cat', 'black cat', 'smiling cat with heart eyes', 'red heart', 't rex', 'orange heart'];

describe('subjectsIn', () => {
  for (const [prompt, expected] of [
    ['a cat', ['cat']],
    ['A Black Cat!', ['black cat']],
    ['flat style smiling cat with heart-eyes on teal', ['smiling cat with heart eyes']],
    ['a T-Rex and a red heart', ['t rex', 'red heart']],
    ['an orange, heart', ['orange heart']],
    ['concatenate', []],
    ['a black dog', []],
    ['', []],
  ] as const) {
    it(`finds ${expected.join(' and ') || 'nothing'} in '${prompt}'`, () => {
      assert.deepEqual(subjectsIn(prompt, subjects), expected);
    });
  }
});
