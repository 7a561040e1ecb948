import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../lib/base/package.ts';
import { addon } from '../../lib/device/native.ts';
import type { OperatorSpec } from '../../lib/graph/operator.ts';
import { operators } from '../../lib/graph/operators.ts';
import { generated } from '../../scripts/generate/tables.ts';

describe('the operator table', () => {
  for (const [path, text] of Object.entries(generated)) {
    it(`is what ${path} was generated from`, () => {
      assert.equal(readFileSync(join(packageRoot, path), 'utf8'), text(), 'run `npm run generate`');
    });
  }

  it('is that of the addon: names, operands, dtypes, layouts, attributes, what works in place', () => {
    const here = Object.entries<OperatorSpec>(operators).map(([name, { operands, attributes, inPlace }]) => ({
      name,
      operands: operands.map((operand) => ({ ...operand, dtypes: [...operand.dtypes].sort() })),
      attributes: attributes.map(({ choices: _, ...attribute }) => attribute),
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
