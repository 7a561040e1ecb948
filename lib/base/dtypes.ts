/** The element types: their names in the code, in files and in the API, and what each is used for. */

interface DTypeTraits {
  readonly bytes: number;
  /**
   * `activation`: what operators compute in. `quantized`: bytes with one scale per row of a matrix; only weights are.
   * `integer`: counts and pixels.
   */
  readonly kind: 'activation' | 'integer' | 'quantized';
  /** Its name in safetensors files; absent: files with this dtype are not read. */
  readonly stored?: string;
  /** Its name in requests, load options and results; absent: no model computes in it. */
  readonly publicName?: string;
}

/** In the order of `SanaDType`, which is generated from this table: new dtypes are appended. */
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
/** The dtypes of tensors in safetensors files. */
export type StoredDtype = DTypesWith<{ stored: string }>;
/** What a model computes in: all in an activation dtype, or matrix products in a quantized one and the rest in bf16. */
export type ModelDtype = DTypesWith<{ publicName: string }>;
/** The public name of a model's dtype. */
export type DTypeName = Table[ModelDtype]['publicName'];

export const dtypeNames = Object.keys(dtypes) as DType[];
export const activationDtypes = dtypeNames.filter((dtype) => dtypes[dtype].kind === 'activation') as ActivationDtype[];
export const storedDtypes = dtypeNames.filter((dtype) => 'stored' in dtypes[dtype]) as StoredDtype[];
export const quantizedDtypes = dtypeNames.filter(isQuantized);
/** The public names of the dtypes that a model may have, in the order of the table. */
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

/** The public name of a dtype: `bfloat16` for `bf16`. */
export function publicDtype<D extends ModelDtype>(dtype: D): Table[D]['publicName'] {
  return dtypes[dtype].publicName;
}

/** The dtype with a public name: `bf16` for `bfloat16`. */
export function dtypeOfName(name: DTypeName): ModelDtype {
  return (dtypeNames as ModelDtype[]).find((dtype) => publicDtype(dtype) === name) as ModelDtype; // every name has one
}
