// How weights lie in memory on the CPU, for every instruction set alike, and the packing of checkpoint rows into it.
//
// The weights of matrix products stand in panels of 32 output columns, the order in which the kernels read them:
//
//   f32    [panel][taps][I][32]
//   bf16   [panel][taps][ceil(I / 2)][32][2]    two successive inputs of a column in one 32-bit lane
//   i8     [panel][ceil(I / 4)][32][4]          four, of linear only; two lines follow in each panel:
//          [panel][32] f32, [panel][32] i32     the columns' scales, and -128 times the sums of their bytes
//
// The sums are for instructions that multiply signed bytes with unsigned ones: they take x + 128 for a byte x.
//
//   linear          taps = 1, I = K
//   gatedLinear     the same, and a panel is 16 gate rows followed by the 16 rows that they multiply
//   conv2d          taps = kh * kw
//   upsampleConv2d  [phase] before it, taps = 2 * 2. Output pixel (2 i + a, 2 j + b) of phase 2 a + b sees only rows
//                   i + a - 1 and i + a of the small image (columns likewise), each through the sum of the 3x3 taps
//                   that nearest x2 makes fall on it.
//   depthwise       [kh * kw][C]
//
// Columns beyond the last and what the last lane has beyond the last input are zero, as memory is when it is allocated.

#pragma once

#include <stdint.h>

#include "cpu/kernel.h"

namespace sana::cpu {

inline constexpr int kPanelColumns = 32;
inline constexpr int kGateColumns = 16;  // of a gatedLinear panel
inline constexpr int kScaleLines = 2;    // behind the lanes of an i8 panel

// Bytes of a weight of this dtype and packed layout; `shape`, the layout's logical one, has passed check_shape
// (core/tensor.h): it has fewer than 2^40 elements, so that nothing here overflows.
uint64_t tensor_bytes(DType dtype, uint32_t layout, uint32_t rank, const int64_t* shape);

// Converts `rows` rows of a row-major checkpoint tensor (f32, bf16 or f16) into rows first_row.. of `target`, in the
// target's dtype (round to nearest even; i8 as lib/graph/operators/matrix.ts says of linear) and layout. Returns how
// many of the elements were NaN or infinite. Convolution weights arrive as [O, I, kh, kw], depthwise ones as [C, 1, kh,
// kw].
uint64_t pack_rows(const View& target, int64_t first_row, int64_t rows, const void* source, DType source_dtype,
                   Workers&);

}  // namespace sana::cpu
