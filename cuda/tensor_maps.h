// Tensor maps: how the tensor memory accelerator of compute capability 9.0 finds what it copies to shared memory. Both
// kinds describe a tensor of 16-bit elements of which a copy takes 64 of the fastest dimension, 128 bytes, by a number
// of rows, swizzled as matrix_descriptor of machine/hopper.h has it; what lies outside of the tensor arrives as zeros.
//
// The driver makes them. Its functions are asked for at run time: nothing is linked with libcuda.

#pragma once

#include <cuda.h>

#include "cuda/kernel.h"

namespace sana::cuda {

inline constexpr int kMapElements = 64;  // of the fastest dimension that a copy takes

// The sizes and the distances in bytes of a tensor, fastest dimension first. Address and distances are multiples of 16.
struct MappedTensor {
  const void* data;
  DType dtype;  // bf16 or f16
  uint64_t sizes[4];
  uint64_t distances[3];  // of the dimensions behind the fastest
};

// The pixels of images [images, height, width, channels] that the first tap of a convolution's kernel sees, one for
// each output pixel in turn: (stride x - before, stride y - above).
struct MappedPixels {
  int before, above, stride;
  int out_width, out_height;
};

class TensorMaps {
 public:
  TensorMaps();  // throws ERR_SANA_DEVICE where the driver has none

  // Boxes of 64 by `rows` elements of the fastest dimension and dimension `row_dimension`.
  CUtensorMap tiles(const MappedTensor&, int row_dimension, int rows) const;

  // Columns of `pixels` successive output pixels' 64 channels, through rows, images and the borders.
  CUtensorMap pixels(const MappedTensor& images, const MappedPixels&, int pixels) const;

 private:
  decltype(&cuTensorMapEncodeTiled) encode_tiles_;
  decltype(&cuTensorMapEncodeIm2col) encode_pixels_;
};

}  // namespace sana::cuda
