// The matrix product that linear, conv2d and upsampleConv2d share.
//
//   sum[b, y, x, n] = sum over ky, kx, c of  image[b, s y + ky - p, s x + kx - q, c] * weight[n, ky, kx, c]
//
// A matrix [M, K] is M images of one pixel with K channels, and its kernel has one tap.
//
// With i8 and f8, for matrices only, both operands are quantised rows (quantize_rows.h): the result is a sum, for i8 an
// exact integer sum, times the scales of its row and its column.

#pragma once

#include "cuda/kernels/epilogue.h"

namespace sana::cuda {

struct Product {
  const void* image;  // [images, height, width, channels]
  int64_t images;
  int height, width, channels;
  int64_t pitch;              // elements between pixels
  int out_height, out_width;  // of the output, or of each of its phases
  int kernel_height, kernel_width, stride;
  int phases;                  // 1, or 4 for upsampleConv2d: output pixels (2 y + a, 2 x + b) of phase 2 a + b
  const void* weights;         // [phases][sums][kernel_height kernel_width][padded channels]
  int64_t sums;                // rows of the weights: columns of out, or of both halves with gated weights
  const float* image_scales;   // i8 and f8 only: [images]
  const float* weight_scales;  // i8 and f8 only: [sums], padded to a multiple of eight
  int64_t first_row;           // row of out of the first image: out may be computed in several products
  Epilogue epilogue;

  __host__ __device__ int64_t rows() const { return images * out_height * out_width; }  // per phase
  __host__ __device__ int padded_channels() const {
    return (channels + kRowElements - 1) / kRowElements * kRowElements;
  }
  __host__ __device__ int inputs() const { return kernel_height * kernel_width * padded_channels(); }
  // Whether this is a plain matrix product, which may also be a 1x1 convolution: an output pixel depends only on the
  // input pixel at its position.
  __host__ __device__ bool is_matrix() const { return kernel_height * kernel_width * stride * phases == 1; }
};

// Queues the product of an image and weights of dtype x: f32, bf16, f16, i8 or f8.
void run_product(const Product&, DType x, const Stream&);

// ---- between matrix.cu, which chooses, and matrix_*.cu, one for each unit and type of x
// ------------------------------

// How a product is cut.
struct Cut {
  unsigned row_tiles, column_tiles;  // column_tiles: over all phases
  int steps, splits;                 // steps of K per split
  void* partial;            // [splits, phases, rows, partial_columns] f32 (i32 for i8) in the workspace, or null
  int64_t partial_columns;  // sums, padded to a multiple of eight
};

// How x is read: as rows of a matrix or as pixels of an image, both of which must start at multiples of 16 bytes and
// have a multiple of eight channels; or, more slowly, any x.
enum class Source { kMatrix, kImage, kGeneral };

template <class T>
void launch_product(const Product&, const Cut&, Source, int tile, const Stream&);

// The same on the sm_90a path, for bf16 and f16. Its steps do not cross taps.
template <class T>
void launch_hopper_product(const Product&, const Cut&, Source, int tile, const Stream&);

// Adds up the sums of the splits and finishes them.
template <class T>
void launch_combine(const Product&, const Cut&, const Stream&);

}  // namespace sana::cuda
