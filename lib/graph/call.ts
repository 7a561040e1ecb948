/** One operator of a graph, as it was recorded. */

import type { Attributes } from './operator.ts';
import type { OperatorName } from './operators.ts';
import type { Tensor } from './tensor.ts';

/** Separates the parts of a scope, outermost first, here, in the addon's error messages and in `explain`. */
export const SCOPE_SEPARATOR = ' > ';

/** One recorded operator. */
export interface Call {
  readonly op: OperatorName;
  readonly operands: Readonly<Record<string, Tensor>>;
  readonly attributes: Attributes;
  /** The part of the model that recorded it, for `explain` and error messages: `block 3 > attn1`. */
  readonly scope: string;
}
