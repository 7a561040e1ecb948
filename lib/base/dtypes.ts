/** The element types: what they are called here, in files and to callers, and what they are for. */

interface DTypeTraits {
  readonly bytes: number;
  /**
   * `activation`: what operators compute with. `quantized`: bytes that share a scale for each row of a matrix, which
   * only weights are. `integer`: counts and pixels.
   */
  readonly kind: 'activation' | 'integer' | 'quantized';
  /** What safetensors files call it; absent: no file that is read has it. */
  readonly stored?: string;
  /** What requests, load options and results call it; absent: no model computes in it. */
  readonly publicName?: string;
}

/** In the order of `SanaDType`, which is generated from this table: new ones come last. */
export const dtypes = {
  f32: { bytes: 4, kind: 'activation', stored: 'F32', publicName: 'float32' },
  bf16: { bytes: 2, kind: 'activation', stored: 'BF16', publicName: 'bfloat16' },
  f16: { bytes: 2, kind: 'activation', stored: 'F16', publicName: 'float16' },
  i32: { bytes: 4, kind: 'integer', stored: 'I32' },
  u8: { bytes: 1, kind: 'integer', stored: 'U8' },
  i8: { bytes: 1, kind: 'quantized', publicName: 'int8' },
  // e4m3: sign, four bits of exponent with bias 7, three of fraction; no infinity, at most 448
  f8: { bytes: 1, kind: 'quantized', publicName: 'fp8' },
} as const satisfies Record<string, DTypeTraits>;

type Table = typeof dtypes;
export type DType = keyof Table;
type DTypesWith<Traits> = { [D in DType]: Table[D] extends Traits ? D : never }[DType];

export type ActivationDtype = DTypesWith<{ kind: 'activation' }>;
export type QuantizedDtype = DTypesWith<{ kind: 'quantized' }>;
/** What tensors of safetensors files may be. */
export type StoredDtype = DTypesWith<{ stored: string }>;
/** What a model computes with: activations of that type, or products of matrices in it and the rest in bf16. */
export type ModelDtype = DTypesWith<{ publicName: string }>;
/** The public name of a model's dtype. */
export type DTypeName = Table[ModelDtype]['publicName'];

export const dtypeNames = Object.keys(dtypes) as DType[];
export const activationDtypes = dtypeNames.filter((dtype) => dtypes[dtype].kind === 'activation') as ActivationDtype[];
export const storedDtypes = dtypeNames.filter((dtype) => 'stored' in dtypes[dtype]) as StoredDtype[];
export const quantizedDtypes = dtypeNames.filter(isQuantized);
/** Of every dtype that a model may have, in the order of the table. */
export const publicDtypeNames = dtypeNames.flatMap((dtype) => {
  const traits: DTypeTraits = dtypes[dtype];
  return (traits.publicName as DTypeName | undefined) ?? [];
});

export function bytesPerElement(dtype: DType): number {
  return dtypes[dtype].bytes;
}

export function isActivation(dtype: DType): dtype is ActivationDtype {
  return dtypes[dtype].kind === 'activation';
}

export function isQuantized(dtype: DType): dtype is QuantizedDtype {
  return dtypes[dtype].kind === 'quantized';
}

/** `bf16` as callers know it: `bfloat16`. */
export function publicDtype<D extends ModelDtype>(dtype: D): Table[D]['publicName'] {
  return dtypes[dtype].publicName;
}

/** `bfloat16` as it is called here: `bf16`. */
export function dtypeOfName(name: DTypeName): ModelDtype {
  return (dtypeNames as ModelDtype[]).find((dtype) => publicDtype(dtype) === name) as ModelDtype; // each name is of one
}
