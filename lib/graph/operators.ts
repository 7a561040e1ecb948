/**
 * The operator table: one row for each operator. A row describes what the operator computes, its operands and
 * attributes, what its output may overwrite, the limits of its kernels, the shape of its result and its cost.
 * `npm run generate` writes the C++ side of the table, core/generated/, from it. Every backend has one kernel for each
 * row, under the same name.
 *
 * Conventions. Row-major, channels last. B batch, N tokens (or M rows), C channels, T text tokens, H heads, D channels
 * of a head. `...` in a shape means any leading dimensions. Activations are f32, bf16 or f16 (f16 is unsupported on the
 * CPU), sums are f32, vectors (biases, norm weights, modulation) are always f32. A pitched operand may be a range of
 * columns of a wider tensor. Only weights are i8 or f8.
 *
 * The same call on the same device always gives the same bits. On the CPU, moreover, every output element is a sum in a
 * fixed order that does not depend on the tile, the thread count, the batch or the other rows: it has the same bits
 * alone and in a batch. On a GPU, the order of a sum may depend on the shapes of the call.
 *
 * FLOPs count 2 per multiply-add of the definition, so that figures are comparable across implementations. The folded
 * up-convolution counts its four 2x2 convolutions, which are computed, not a 3x3 convolution of the enlarged map.
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

// ---- the operands and attributes of each operator, as types ---------------------------------------------------------

type OperandOf<Op extends OperatorName> = (typeof operators)[Op]['operands'][number];
type NamesOf<Op extends OperatorName, Role> = Extract<OperandOf<Op>, { readonly role: Role }>['name'];
type AttributeOf<Op extends OperatorName> = Extract<(typeof operators)[Op]['attributes'][number], AttributeSpec>;
type ValueOf<A> = A extends { readonly choices: { readonly names: readonly (infer Name)[] } }
  ? Name
  : A extends { readonly kind: 'list' }
    ? readonly number[]
    : number;

/** The input tensors of an operator, by name. */
export type Inputs<Op extends OperatorName> = {
  readonly [Name in NamesOf<Op, 'in' | 'inout'>]: Tensor;
} & { readonly [Name in NamesOf<Op, 'in?'>]?: Tensor | undefined };

/** All attributes of an operator. */
export type AttributesOf<Op extends OperatorName> = {
  readonly [A in AttributeOf<Op> as A['name']]: ValueOf<A>;
};
