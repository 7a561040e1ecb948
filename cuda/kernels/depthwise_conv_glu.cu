// d = depthwise3x3(x) + bias, out[f] = d[f] * silu(d[F + f])
//
// x [B, H, W, 2F], weight [9, 2F] f32 (tap by tap), bias [2F] f32, out [B, H, W, F]. Zero padding 1. d is never written
// to memory.
//
// A thread takes two channels and their gates in a strip of four rows and iterates over its columns. It keeps the 36
// taps and, instead of the three columns under the kernel, the partial sums of two outputs: each column of inputs is
// loaded and converted once, added to the three outputs that it contributes to, and discarded. The next column is
// loaded meanwhile. A warp is 64 neighbouring channels, whole cache lines. The warps of a block are strips below one
// another, which find the rows that they share in the first-level cache.
// If F is odd, or x or out is not aligned to two elements: one channel per thread (the general path).
// Bound by memory, reading 2F and writing F per pixel, and nearly by the instructions for the 18 multiply-adds, the
// exponential and the conversions of each output.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kLanes = 32;        // along the channels
constexpr int kRows = 4;          // per thread: six rows are read for four
constexpr int kStrips = 4;        // per block, at most
constexpr int kMostColumns = 32;  // per thread: two more are read at its sides
constexpr int kLeastColumns = 8;
constexpr int kBlocksPerMultiprocessor = 3;  // leaves 168 registers per thread

// Accurate to the last bits of the output's dtype; for 16-bit outputs this takes a third of the instructions.
template <class Out>
__device__ __forceinline__ float silu(float x) {
  if constexpr (sizeof(Out) == 4) return __fdividef(x, 1.0f + expf(-x));
  return x * reciprocal_approximately(1.0f + exp2_approximately(-1.4426950408889634f * x));
}

// ---- kernels -------------------------------------------------------------------------------------------------------

template <int N, class X, class Out>
__global__ void __launch_bounds__(kLanes* kStrips, sizeof(X) == 2 ? kBlocksPerMultiprocessor : 1)
    depthwise_conv_glu_kernel(const X* __restrict__ x,           // [B, height, width, 2 F]
                              const float* __restrict__ weight,  // [9, 2 F]
                              const float* __restrict__ bias,    // [2 F]
                              Out* __restrict__ out,             // [B, height, width, F]
                              int height, int width, int hidden, int columns) {
  // Blocks that run together are neighbours in memory: channels first, then columns, rows and items.
  const unsigned channel_tiles = (hidden + kLanes * N - 1) / (kLanes * N);
  const unsigned column_tiles = (width + columns - 1) / columns;
  const unsigned rows_of_block = blockDim.y * kRows;
  const unsigned row_tiles = (height + rows_of_block - 1) / rows_of_block;
  const int channel = static_cast<int>(blockIdx.x % channel_tiles * kLanes + threadIdx.x) * N;
  const unsigned tile = blockIdx.x / channel_tiles;
  const int first_column = static_cast<int>(tile % column_tiles) * columns;
  const int end_column = min(first_column + columns, width);
  const int first_row = static_cast<int>(tile / column_tiles % row_tiles * rows_of_block + threadIdx.y * kRows);
  const int64_t item = tile / column_tiles / row_tiles;
  if (channel >= hidden || first_row >= height) return;

  float taps[2][9][N], biases[2][N];  // for the values and for the gates
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int t = 0; t < 9; ++t) load<N>(weight + (2 * t + half) * hidden + channel, taps[half][t]);
    load<N>(bias + half * hidden + channel, biases[half]);
  }

  // The inputs of a column, from the row above the strip to the row below it. Those outside the image stay zero.
  // Relative to one corner of the strip, offsets fit 32 bits: seven rows of at most 2^28 elements.
  const int pixel_elements = 2 * hidden, row_elements = width * pixel_elements;
  const X* const values = x + (((item * height + first_row - 1) * width + first_column - 1) * pixel_elements + channel);
  const X* const gates = values + hidden;
  int at = 0;  // the column's offset
  Packed<X, N> next[2][kRows + 2];
  const auto fetch = [&](int column, int r) {
    const bool row_inside = first_row - 1 + r >= 0 && first_row - 1 + r < height;
    if (column >= width) next[0][r] = next[1][r] = Packed<X, N>();
    if (column >= 0 && column < width && row_inside) {
      next[0][r] = Packed<X, N>(values + (at + r * row_elements));
      next[1][r] = Packed<X, N>(gates + (at + r * row_elements));
    }
  };

  // Partial sums of the outputs in the column to the left of the current one and in the current one. The first sums
  // belong to outputs of a neighbour and are not stored.
  float left[2][kRows][N] = {}, middle[2][kRows][N] = {};
  Out* const results_at = out + (((item * height + first_row) * width + first_column) * hidden + channel);
#pragma unroll
  for (int r = 0; r < kRows + 2; ++r) fetch(first_column - 1, r);
  for (int column = first_column - 1; column <= end_column; ++column) {
    at += pixel_elements;
    float inputs[kRows + 2][2][N];
#pragma unroll
    for (int r = 0; r < kRows + 2; ++r) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int n = 0; n < N; ++n) inputs[r][half][n] = next[half][r][n];
      }
      fetch(column + 1, r);
      if (r < 2) continue;

      const int row = r - 2;  // row of the strip whose last input has arrived
      float done[2][N], results[N];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int n = 0; n < N; ++n) {
          const auto add = [&](float sum, int dx) {
#pragma unroll
            for (int dy = 0; dy < 3; ++dy) sum += inputs[row + dy][half][n] * taps[half][3 * dy + dx][n];
            return sum;
          };
          done[half][n] = add(left[half][row][n], 2);
          left[half][row][n] = add(middle[half][row][n], 1);
          middle[half][row][n] = add(biases[half][n], 0);
        }
      }
#pragma unroll
      for (int n = 0; n < N; ++n) results[n] = done[0][n] * silu<Out>(done[1][n]);
      if (column > first_column && first_row + row < height) {
        store<N>(results_at + (row * width + column - 1 - first_column) * hidden, results);
      }
    }
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void depthwise_conv_glu(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::DepthwiseConvGlu::kX];            // [B, H, W, 2F]
  const View& weight = call.operands[op::DepthwiseConvGlu::kWeight];  // [9, 2F]
  const View& bias = call.operands[op::DepthwiseConvGlu::kBias];      // [2F]
  const View& out = call.operands[op::DepthwiseConvGlu::kOut];        // [B, H, W, F]
  const int64_t batch = x.shape[0], height = x.shape[1], width = x.shape[2], hidden = out.columns();
  const bool wide = vector_rows(2, {&x, &bias, &out}) && reinterpret_cast<uintptr_t>(weight.data) % 8 == 0;
  const int64_t strips = min(divide_up(height, kRows), int64_t(kStrips));
  const int64_t tiles = batch * divide_up(height, strips * kRows) * divide_up(hidden, kLanes * (wide ? 2 : 1));
  // With long strips fewer columns are read twice; with short ones fewer multiprocessors are idle at the end.
  const int64_t at_once = int64_t(stream.multiprocessors) * kBlocksPerMultiprocessor;
  const auto steps = [&](int64_t columns) {
    return divide_up(tiles * divide_up(width, columns), at_once) * (columns + 2);
  };
  int64_t columns = kMostColumns;
  for (int64_t fewer = kMostColumns / 2; fewer >= kLeastColumns; fewer /= 2) {
    if (steps(fewer) < steps(columns)) columns = fewer;
  }
  const dim3 block(kLanes, static_cast<unsigned>(strips));
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    launch(stream.handle, wide ? depthwise_conv_glu_kernel<2, X, Out> : depthwise_conv_glu_kernel<1, X, Out>,
           grid_size(tiles * divide_up(width, columns)), block, 0, x.as<X>(), weight.as<float>(), bias.as<float>(),
           out.as<Out>(), height, width, hidden, columns);
  });
}

}  // namespace sana::cuda
