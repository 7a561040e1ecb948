// How weights lie in device memory, and the packing of checkpoint rows into it.
//
// The weights of matrix products are rows of inputs, each row padded with zeros to a multiple of eight elements so that
// it starts where 16-byte copies can:
//
//   linear          [N][K]; i8 and f8 are quantised rows (kernels/quantize_rows.h), [N][K] up to multiples of 8 and 16,
//                   and behind them the scales [N] f32
//   gatedLinear     [ceil(N / 2 / 8)][2][8][K]: eight gate rows, then the eight rows that they multiply, so that both
//                   halves of an output lie in the same thread's registers
//   conv2d          [O][kh * kw][I], I padded
//   upsampleConv2d  [phase][O][2 * 2][I]. Output pixel (2 i + a, 2 j + b) of phase 2 a + b sees only rows i + a - 1 and
//                   i + a of the small image (columns likewise), each through the sum of the 3x3 taps that nearest x2
//                   makes fall on it.
//   depthwise       [kh * kw][C]
//
// Padding is zero, as memory is when it is allocated.

#pragma once

#include "cuda/device.h"

namespace sana::cuda {

inline constexpr int kRowElements = 8;  // rows of packed weights are padded to a multiple of these
inline constexpr int kGateColumns = 8;  // of a gatedLinear weight that stand together

// Bytes of a weight of this dtype and packed layout; `shape`, the layout's logical one, has passed check_shape
// (core/tensor.h): it has fewer than 2^40 elements, so that nothing here overflows.
uint64_t tensor_bytes(DType dtype, uint32_t layout, const int64_t* shape);

// Queues the conversion of `rows` rows of a row-major checkpoint tensor (f32, bf16 or f16, in host memory) into rows
// first_row.. of `target`. `source` is free again on return. Returns how many elements were NaN or infinite.
// Convolution weights arrive as [O, I, kh, kw], depthwise ones as [C, 1, kh, kw].
uint64_t pack_rows(SanaDevice&, const View& target, int64_t first_row, int64_t rows, const void* source,
                   DType source_dtype);

}  // namespace sana::cuda
