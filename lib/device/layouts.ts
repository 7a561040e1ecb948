/**
 * How the elements of a tensor are arranged in memory. `dense` is row-major; the others are weights that a backend has
 * packed in the order that its kernels need.
 */

import type { DType } from '../base/dtypes.ts';

interface LayoutTraits {
  /** The logical shape, as documentation; absent: any. */
  readonly shape?: string;
  /** Dimensions of the logical shape; 0: any number. */
  readonly rank: number;
  /** The dtypes that this layout supports; absent: any. */
  readonly dtypes?: readonly DType[];
}

/** In the order of `SanaLayout`, which is generated from this table: new layouts are appended. */
export const layouts = {
  dense: { rank: 0 },
  linear: { shape: '[N, K]', rank: 2, dtypes: ['f32', 'bf16', 'f16', 'i8', 'f8'] },
  gatedLinear: {
    shape: '[N, K], rows 0..N/2-1 are the gate, the others the values that it multiplies',
    rank: 2,
    dtypes: ['f32', 'bf16', 'f16'],
  },
  conv2d: { shape: '[O, kh, kw, I]', rank: 4, dtypes: ['f32', 'bf16', 'f16'] },
  upsampleConv2d: {
    shape: '[O, 3, 3, I], folded to four 2x2 kernels',
    rank: 4,
    dtypes: ['f32', 'bf16', 'f16'],
  },
  depthwise: { shape: '[C, kh, kw]', rank: 3, dtypes: ['f32'] },
} as const satisfies Record<string, LayoutTraits>;

export type Layout = keyof typeof layouts;

export function layoutTraits(layout: Layout): LayoutTraits {
  return layouts[layout];
}
