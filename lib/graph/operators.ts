/**
 * The operator table: every operator there is, one row each. A row says what the operator computes, its operands and
 * attributes, what its output may overwrite, the limits that kernels have, how the shape of the result follows and what
 * it costs. `npm run generate` writes the C++ side of the table from it, core/generated/; every backend has one kernel
 * for each row, by the same name.
 *
 * Conventions. Row-major, channels last. B batch, N tokens (or M rows), C channels, T text tokens, H heads, D channels
 * of a head. `...` in a shape means any leading dimensions. Activations are f32, bf16 or f16 (the CPU has no f16), sums
 * are f32, vectors (biases, norm weights, modulation) are f32 always. A pitched operand may be a rectangle of columns of
 * a wider tensor. Only weights are i8 or f8.
 *
 * The same call on the same device gives the same bits, always. On the CPU an output element is moreover one sum in one
 * fixed order, whatever the tile, the thread count, the batch or the other rows: the same bits alone or in a batch. On
 * a GPU the order of a sum may depend on the shapes of the call.
 *
 * FLOPs count 2 per multiply-add of the result as defined, so that figures compare across implementations: the folded
 * up-convolution counts its four 2x2 taps (what is computed), never the 3x3 on the enlarged map.
 */

import type { AttributeSpec, OperatorSpec } from './operator.ts';
import { attentionOperators } from './operators/attention.ts';
import { depthwiseOperators } from './operators/depthwise.ts';
import { elementwiseOperators } from './operators/elementwise.ts';
import { embeddingOperators } from './operators/embeddings.ts';
import { matrixOperators } from './operators/matrix.ts';
import { normOperators } from './operators/norms.ts';
import { pixelOperators } from './operators/pixels.ts';
import { samplingOperators } from './operators/sampling.ts';
import type { Tensor } from './tensor.ts';

/** Written down, so that the declarations in the package do not repeat every row. */
type Operators = typeof matrixOperators &
  typeof depthwiseOperators &
  typeof normOperators &
  typeof attentionOperators &
  typeof embeddingOperators &
  typeof elementwiseOperators &
  typeof pixelOperators &
  typeof samplingOperators;

export const operators: Operators = {
  ...matrixOperators,
  ...depthwiseOperators,
  ...normOperators,
  ...attentionOperators,
  ...embeddingOperators,
  ...elementwiseOperators,
  ...pixelOperators,
  ...samplingOperators,
};

export type OperatorName = keyof typeof operators;

export function operatorSpec(name: OperatorName): OperatorSpec {
  return operators[name];
}

// ---- what each operator takes, as types -------------------------------------------------------------------------------

type OperandOf<Op extends OperatorName> = (typeof operators)[Op]['operands'][number];
type NamesOf<Op extends OperatorName, Role> = Extract<OperandOf<Op>, { readonly role: Role }>['name'];
type AttributeOf<Op extends OperatorName> = Extract<(typeof operators)[Op]['attributes'][number], AttributeSpec>;
type ValueOf<A> = A extends { readonly choices: { readonly names: readonly (infer Name)[] } }
  ? Name
  : A extends { readonly kind: 'list' }
    ? readonly number[]
    : number;

/** The tensors that an operator reads, by name. */
export type Inputs<Op extends OperatorName> = {
  readonly [Name in NamesOf<Op, 'in' | 'inout'>]: Tensor;
} & { readonly [Name in NamesOf<Op, 'in?'>]?: Tensor | undefined };

/** The attributes of an operator, all of them. */
export type AttributesOf<Op extends OperatorName> = {
  readonly [A in AttributeOf<Op> as A['name']]: ValueOf<A>;
};
