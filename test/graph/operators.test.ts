import assert from 'node:assert/strict';
import { addon } from '../../lib/device/native.ts';
import { operators } from '../../lib/graph/operators.ts';

describe('the operator table', () => {
  it('is the same in TypeScript and in C++: names, operands, dtypes, layouts, attributes, what works in place', () => {
    const here = Object.entries(operators).map(([name, { operands, attributes, inPlace }]) => ({
      name,
      operands: operands.map((operand) => ({ ...operand, dtypes: [...operand.dtypes].sort() })),
      attributes,
      inPlace: [...inPlace].sort(),
    }));
    const there = addon().operators.map(({ name, operands, attributes, inPlace }) => ({
      name,
      operands: operands.map((operand) => ({ ...operand, dtypes: [...operand.dtypes].sort() })),
      attributes,
      inPlace: [...inPlace].sort(),
    }));
    assert.deepEqual(here, there);
  });
});
