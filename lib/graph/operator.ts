/** The type of a row of the operator table, and functions to write rows with. */

import { activationDtypes, type DType, quantizedDtypes } from '../base/dtypes.ts';
import type { Layout } from '../device/layouts.ts';
import { type LimitName, most } from './limits.ts';
import { columnsOf, describe, elements, shapeError, type Tensor } from './tensor.ts';

export type AttributeValue = number | string | readonly number[];
export type Operands = Readonly<Record<string, Tensor | undefined>>;
export type Attributes = Readonly<Record<string, AttributeValue>>;

export interface OperandSpec {
  readonly name: string;
  readonly role: 'in' | 'in?' | 'out' | 'inout';
  readonly dtypes: readonly DType[];
  /** `dense`, `pitched` (dense, or a range of columns of a wider tensor), or the allowed packed layouts. */
  readonly layout: 'dense' | 'pitched' | Layout | `${Layout}|${Layout}`;
}

export interface AttributeSpec {
  readonly name: string;
  /** `integer`, `number`, `list` (of integers), or the choices, such as `split|interleaved`. */
  readonly kind: string;
  /** The range of a number, or of every entry of a list. */
  readonly least?: number;
  readonly most?: number;
  /** The choices, and the name of their enum in C++. */
  readonly choices?: { readonly type: string; readonly names: readonly string[] };
}

/** A count that must not exceed a limit of the kernels. */
export interface LimitSpec {
  readonly operand: string;
  readonly limit: LimitName;
  /** What is counted, for the message: `x may have at most 16384 channels`. */
  readonly what: string;
  readonly count: (operands: Operands, attributes: Attributes) => number;
}

export interface OperatorSpec {
  readonly operands: readonly OperandSpec[];
  readonly attributes: readonly AttributeSpec[];
  /** The inputs that the output may overwrite. It may use exactly the memory of one of them, and not overlap others. */
  readonly inPlace: readonly string[];
  readonly limits: readonly LimitSpec[];
  /** Pairs of operands that must have the same dtype, if both are given. */
  readonly sameDtype?: readonly (readonly [string, string])[];
  /** Checks the operands against each other and returns the shape of `out` (none: the operator works in place). */
  readonly infer: (operands: Operands, attributes: Attributes) => readonly number[] | undefined;
  readonly flops: (operands: Operands, attributes: Attributes) => number;
}

// ---- operands and attributes ----------------------------------------------------------------------------------------

export const activation: readonly DType[] = activationDtypes;
/** Biases, norm weights, modulation: f32 for every dtype of the activations. */
export const vector: readonly DType[] = ['f32'];
export const matrix: readonly DType[] = [...activationDtypes, ...quantizedDtypes];

type OperandLayout = OperandSpec['layout'];

function operand<const Role extends OperandSpec['role']>(role: Role) {
  return <const Name extends string>(name: Name, dtypes = activation, layout: OperandLayout = 'dense') => ({
    name,
    role,
    dtypes,
    layout,
  });
}

export const input = operand('in');
export const optional = operand('in?');
export const updated = operand('inout');
export const output = (dtypes = activation, layout: OperandLayout = 'dense') => operand('out')('out', dtypes, layout);

type Range = Pick<AttributeSpec, 'least' | 'most'>;

export const number = <const Name extends string>(name: Name, range: Range = {}) =>
  ({ name, kind: 'number', ...range }) as const;
export const integer = <const Name extends string>(name: Name, least: number, most: number) =>
  ({ name, kind: 'integer', least, most }) as const;
export const choice = <const Name extends string, const Choice extends string>(
  name: Name,
  type: string,
  names: readonly Choice[],
) => ({ name, kind: names.join('|'), choices: { type, names } }) as const;
/** The number of tokens of each of several concatenated sequences. */
export const lengths = { name: 'lengths', kind: 'list', least: 1, most: most('keys') } as const;

export const activations = ['none', 'silu', 'gelu-tanh', 'relu'] as const;
export type Activation = (typeof activations)[number];
export const activationChoice = choice('activation', 'Activation', activations);

// ---- limits ---------------------------------------------------------------------------------------------------------

export const limit = (
  operand: string,
  name: LimitName,
  what: string,
  count: (tensor: Tensor, operands: Operands, attributes: Attributes) => number,
): LimitSpec => ({
  operand,
  limit: name,
  what,
  count: (operands, attributes) => {
    const tensor = operands[operand];
    return tensor === undefined ? 0 : count(tensor, operands, attributes);
  },
});

/** Limits dimension `index` of an operand; a negative index counts from the end. */
export const dimensionLimit = (operand: string, index: number, name: LimitName, what: string): LimitSpec =>
  limit(operand, name, what, (tensor) => dimension(tensor, index));

/** The limits of an image [B, H, W, C]. */
export const imageLimits = (operand: string): readonly LimitSpec[] => [
  dimensionLimit(operand, 1, 'side', 'rows'),
  dimensionLimit(operand, 2, 'side', 'columns'),
  dimensionLimit(operand, 3, 'channels', 'channels'),
];

// ---- shapes ---------------------------------------------------------------------------------------------------------

/** The operand of that name; the recorder has already checked that required operands are given. */
export function at(operands: Operands, name: string): Tensor {
  const tensor = operands[name];
  if (tensor === undefined) throw shapeError(`operand \`${name}\` is missing`);
  return tensor;
}

export function dimension(tensor: Tensor, index: number): number {
  return tensor.shape[index < 0 ? tensor.shape.length + index : index] ?? 1;
}

export function numberOf(attributes: Attributes, name: string): number {
  return Number(attributes[name]);
}

export function listOf(attributes: Attributes, name: string): readonly number[] {
  const value = attributes[name];
  return Array.isArray(value) ? value : [];
}

export function demand(condition: boolean, operands: Operands, what: string): void {
  if (!condition) throw shapeError(`${what}; given ${describeAll(operands)}`);
}

export function describeAll(operands: Operands): string {
  return Object.entries(operands)
    .flatMap(([name, tensor]) => (tensor === undefined ? [] : `${name} ${describe(tensor)}`))
    .join(', ');
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/** Checks that operand `name`, if given, has exactly this shape. */
export function demandShape(operands: Operands, name: string, shape: readonly number[]): void {
  const tensor = operands[name];
  if (tensor !== undefined)
    demand(sameShape(tensor.shape, shape), operands, `\`${name}\` must be [${shape.join(', ')}]`);
}

export function image(operands: Operands, name: string): readonly [number, number, number, number] {
  const { shape } = at(operands, name);
  demand(shape.length === 4, operands, `\`${name}\` must be [B, H, W, C]`);
  return [shape[0] ?? 0, shape[1] ?? 0, shape[2] ?? 0, shape[3] ?? 0];
}

export const elementsOf = (operands: Operands, name: string): number => elements(at(operands, name).shape);

/** FLOPs of an operator that costs the same for every element of its result. */
export const elementwise = (perElement: number) => (operands: Operands) => perElement * elementsOf(operands, 'out');

export { columnsOf, elements };
