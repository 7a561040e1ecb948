/** What errors of this package must look like. */

import assert from 'node:assert/strict';
import { SanaError, type SanaErrorCode } from '../../lib/base/errors.ts';

/** For `assert.throws` and `assert.rejects`: a `SanaError` with this code, a hint, and a message with each of the parts. */
export function sanaError(code: SanaErrorCode, ...parts: (string | RegExp)[]): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof SanaError, `expected a SanaError, got ${String(error)}`);
    assert.equal(error.code, code, error.message);
    assert.ok(error.hint.length > 0);
    for (const part of parts) {
      const found = typeof part === 'string' ? error.message.includes(part) : part.test(error.message);
      assert.ok(found, `expected ${String(part)} in: ${error.message}`);
    }
    return true;
  };
}
