// The layout of weights in memory on the CPU, the same for every instruction set, and the packing of checkpoint rows
// into it.
//
// The weights of matrix products are stored in panels of 32 output columns, in the order in which the kernels read
// them:
//
//   f32    [panel][taps][I][32]
//   bf16   [panel][taps][ceil(I / 2)][32][2]    two successive inputs of a column per 32-bit lane
//   i8     [panel][ceil(I / 4)][32][4]          four per lane; linear only. Two lines follow in each panel:
//          [panel][32] f32, [panel][32] i32     the columns' scales, and -128 times the sums of their bytes
//
// The sums are for instructions that multiply unsigned by signed bytes: a byte x is passed to them as x + 128.
//
//   linear          taps = 1, I = K
//   gatedLinear     the same, and a panel is 16 gate rows followed by the 16 rows that they multiply
//   conv2d          taps = kh * kw
//   upsampleConv2d  preceded by [phase], taps = 2 * 2. Output pixel (2 i + a, 2 j + b), of phase 2 a + b, depends only
//                   on rows i + a - 1 and i + a of the small image (columns likewise). Each is multiplied by the sum of
//                   the 3x3 taps that fall on it after nearest x2.
//   depthwise       [kh * kw][C]
//
// Padding, beyond the last column and beyond the last input, is zero, because allocated memory is zero-filled.

#pragma once

#include <stdint.h>

#include "cpu/kernel.h"

namespace sana::cpu {

inline constexpr int kPanelColumns = 32;
inline constexpr int kGateColumns = 16;  // gate columns of a gatedLinear panel
inline constexpr int kScaleLines = 2;    // after the lanes of an i8 panel

// The bytes of a weight of this dtype and packed layout. `shape` is the logical shape and has passed check_shape
// (core/tensor.h): it has fewer than 2^40 elements, so nothing here overflows.
uint64_t tensor_bytes(DType dtype, uint32_t layout, uint32_t rank, const int64_t* shape);

// Converts `rows` rows of a row-major checkpoint tensor (f32, bf16 or f16) into rows first_row.. of `target`, in the
// target's dtype (rounded to nearest even; i8 as described for linear in lib/graph/operators/matrix.ts) and layout.
// Returns the number of NaN and infinite elements. The source of convolution weights is [O, I, kh, kw], that of
// depthwise ones [C, 1, kh, kw].
uint64_t pack_rows(const View& target, int64_t first_row, int64_t rows, const void* source, DType source_dtype,
                   Workers&);

}  // namespace sana::cpu
