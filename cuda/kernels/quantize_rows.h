// Rows quantised to i8 or f8 with a scale each. Matrix products of i8 and f8 take both operands in this form:
//
//   scale_m = max_k |x_mk| / most,  q_mk = x_mk / scale_m, rounded to nearest even
//
// `most` is 127 for i8 and 448 for f8. Weights are quantised once, when they are packed; x is quantised for every
// product, in the workspace.

#pragma once

#include "cuda/kernel.h"

namespace sana::cuda {

inline constexpr int kQuantizedRowElements = 16;  // quantised rows are padded with zeros to a multiple of these

constexpr int64_t quantized_pitch(int64_t columns) {
  return divide_up(columns, kQuantizedRowElements) * kQuantizedRowElements;
}

struct QuantizedRows {
  DType dtype;        // kI8 or kF8
  uint8_t* elements;  // [rows, quantized_pitch(columns)], at a multiple of 16 bytes
  float* scales;      // [rows], NaN for a row with a NaN or an infinity
};

// A packed linear weight [N, K] of i8 or f8: the rows, padded to a multiple of eight rows, followed by all scales.
constexpr int64_t quantized_rows(int64_t rows) {
  return divide_up(rows, 8) * 8;  // an epilogue finishes eight columns at a time
}
QuantizedRows quantized_weight(const View&);

// Queues the quantisation of x [rows, columns], f32, bf16 or f16, rows `pitch` elements apart.
void quantize_rows(const void* x, DType, int64_t rows, int64_t columns, int64_t pitch, const QuantizedRows&,
                   const Stream&);

}  // namespace sana::cuda
