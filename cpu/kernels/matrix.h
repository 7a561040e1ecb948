// The matrix product that linear, conv2d and upsampleConv2d share.
//
//   sum[b, y, x, n] = sum over ky, kx, c of  image[b, s y + ky - p, s x + kx - q, c] * weight[n, ky, kx, c]
//
// A matrix [M, K] is an image of one line of M pixels with K channels, and its kernel has one tap.

#pragma once

#include "cpu/kernels/epilogue.h"

namespace sana::cpu::SANA_ISA {

struct MatrixProduct {
  const void* image;  // [batch, height, width, channels]
  int64_t batch, height, width, channels;
  int64_t pitch;                  // elements between pixels
  int64_t out_height, out_width;  // of the output, or of each of its phases
  int64_t kernel_height, kernel_width, stride;
  int64_t window_height, window_width;  // input pixels of an output pixel: the kernel's size, over all phases
  int64_t pad_y, pad_x;
  int64_t phases;        // 1, or 4 for upsampleConv2d: output pixels (2 y + a, 2 x + b) of phase 2 a + b
  const float* weights;  // packed as described in cpu/pack.h
  Epilogue epilogue;
};

// Runs the product with an image of dtype `x`, weights of the same dtype or, for a matrix, i8, and `out` and residual
// of dtype `out`.
void run_product(const MatrixProduct&, DType x, DType weights, DType out, Workers&);

}  // namespace sana::cpu::SANA_ISA
