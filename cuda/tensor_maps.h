// Tensor maps: descriptions of tensors for the tensor memory accelerator of compute capability 9.0, which copies them
// to shared memory. Both kinds describe a tensor of 16-bit elements. A copy takes 64 elements of the fastest dimension,
// 128 bytes, by a number of rows, swizzled as matrix_descriptor of machine/hopper.h expects. Elements outside the
// tensor are zero.
//
// The driver creates them. Its functions are looked up at run time: nothing is linked with libcuda.

#pragma once

#include <cuda.h>

#include "cuda/kernel.h"

namespace sana::cuda {

inline constexpr int kMapElements = 64;  // elements of the fastest dimension per copy

// The sizes of a tensor and its strides in bytes, fastest dimension first. The address and the strides are multiples of
// 16.
struct MappedTensor {
  const void* data;
  DType dtype;  // bf16 or f16
  uint64_t sizes[4];
  uint64_t distances[3];  // strides of the dimensions after the fastest
};

// The pixels of images [images, height, width, channels] under the first tap of a convolution's kernel, one per output
// pixel in order: (stride x - before, stride y - above).
struct MappedPixels {
  int before, above, stride;
  int out_width, out_height;
};

class TensorMaps {
 public:
  TensorMaps();  // throws ERR_SANA_DEVICE if the driver does not support them

  // A map for boxes of 64 elements of the fastest dimension by `rows` elements of dimension `row_dimension`.
  CUtensorMap tiles(const MappedTensor&, int row_dimension, int rows) const;

  // A map for columns of 64 channels of `pixels` successive output pixels, across rows, images and borders.
  CUtensorMap pixels(const MappedTensor& images, const MappedPixels&, int pixels) const;

 private:
  decltype(&cuTensorMapEncodeTiled) encode_tiles_;
  decltype(&cuTensorMapEncodeIm2col) encode_pixels_;
};

}  // namespace sana::cuda
