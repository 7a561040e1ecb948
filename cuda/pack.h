// The layout of weights in device memory, and the packing of checkpoint rows into it.
//
// The weights of matrix products are rows of inputs. Each row is padded with zeros to a multiple of eight elements, so
// that rows are aligned for 16-byte copies:
//
//   linear          [N][K]; i8 and f8 are quantised rows (kernels/quantize_rows.h), [N][K] padded to multiples of 8 and
//                   16, followed by the scales [N] f32
//   gatedLinear     [ceil(N / 2 / 8)][2][8][K]: eight gate rows, then the eight rows that they multiply, so that both
//                   halves of an output lie in the same thread's registers
//   conv2d          [O][kh * kw][I], I padded
//   upsampleConv2d  [phase][O][2 * 2][I]. Output pixel (2 i + a, 2 j + b), of phase 2 a + b, depends only on rows
//                   i + a - 1 and i + a of the small image (columns likewise). Each is multiplied by the sum of the 3x3
//                   taps that fall on it after nearest x2.
//   depthwise       [kh * kw][C]
//
// Padding is zero, because allocated memory is zero-filled.

#pragma once

#include "cuda/device.h"

namespace sana::cuda {

inline constexpr int kRowElements = 8;  // rows of packed weights are padded to a multiple of these
inline constexpr int kGateColumns = 8;  // consecutive gate rows of a gatedLinear weight

// The bytes of a weight of this dtype and packed layout. `shape` is the logical shape and has passed check_shape
// (core/tensor.h): it has fewer than 2^40 elements, so nothing here overflows.
uint64_t tensor_bytes(DType dtype, uint32_t layout, const int64_t* shape);

// Queues the conversion of `rows` rows of a row-major checkpoint tensor (f32, bf16 or f16, in host memory) into rows
// first_row.. of `target`. `source` may be reused on return. Returns the number of NaN and infinite elements. The
// source of convolution weights is [O, I, kh, kw], that of depthwise ones [C, 1, kh, kw].
uint64_t pack_rows(SanaDevice&, const View& target, int64_t first_row, int64_t rows, const void* source,
                   DType source_dtype);

}  // namespace sana::cuda
