// out = (x - mean) * rsqrt(variance + epsilon) * (1 + scale) + shift, mean and variance over C
//
// x and out [B, N, C], shift and scale [B, C] f32, C up to 16384; out may be x.
//
// A row is read once and stays in the registers of its threads (row_tile.h). The variance is the mean of squared
// differences, which has no cancellation. A thread holds vectors of 16 bytes of x, or single elements if rows are not
// aligned to 16 bytes (the general path). Bound by memory: one read and one write of x; the shifts and scales of an
// item come from the caches.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"
#include "cuda/kernels/over_threads.h"
#include "cuda/kernels/row_tile.h"

namespace sana::cuda {
namespace {

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class Tile, class X, class Out>
__global__ void __launch_bounds__(Tile::kThreads)
    layer_norm_modulate_kernel(const X* x,          // [rows, C]
                               const float* shift,  // [B, C]
                               const float* scale,  // [B, C]
                               Out* out,            // [rows, C]
                               int64_t rows, int64_t rows_of_item, int columns, int threads, float epsilon) {
  constexpr int N = Tile::kElements, V = Tile::kVectors, kMost = Tile::kMostThreadsOfRow;
  const int rows_of_block = static_cast<int>(blockDim.x) / threads;
  const int64_t row = int64_t(blockIdx.x) * rows_of_block + threadIdx.x / threads;
  const int first = static_cast<int>(threadIdx.x) % threads * N, stride = threads * N;
  const int end = row < rows ? columns : 0;  // threads without a row still take part in sums

  Packed<X, N> values[V];
  float sum = 0.0f;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int column = first + v * stride;
    values[v] = Packed<X, N>(x + row * columns + column, column < end);
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum += values[v][i];  // elements beyond the row are zero
  }
  const float mean = sum_over_threads<kMost>(sum, threads) / static_cast<float>(columns);

  float squares = 0.0f;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    if (first + v * stride >= end) continue;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float difference = values[v][i] - mean;
      squares += difference * difference;
    }
  }
  const float variance = sum_over_threads<kMost>(squares, threads) / static_cast<float>(columns);
  const float factor = rsqrtf(variance + epsilon);

  const int64_t item = row / rows_of_item;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int column = first + v * stride;
    if (column >= end) continue;
    float gains[N], shifts[N], results[N];
    load<N>(scale + item * columns + column, gains);
    load<N>(shift + item * columns + column, shifts);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      results[i] = (values[v][i] - mean) * factor * (1.0f + gains[i]) + shifts[i];
    }
    store<N>(out + row * columns + column, results);
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void layer_norm_modulate(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::LayerNormModulate::kX];          // [B, N, C]
  const View& shift = call.operands[op::LayerNormModulate::kShift];  // [B, C]
  const View& scale = call.operands[op::LayerNormModulate::kScale];  // [B, C]
  const View& out = call.operands[op::LayerNormModulate::kOut];      // [B, N, C]
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    constexpr int kVector = 16 / sizeof(X);
    const auto run = [&](auto tile) {
      launch(stream.handle, layer_norm_modulate_kernel<decltype(tile), X, Out>, tile.grid, tile.block, 0, x.as<X>(),
             shift.as<float>(), scale.as<float>(), out.as<Out>(), x.rows(), x.shape[1], x.columns(), tile.threads,
             call.number(op::LayerNormModulate::kEpsilon));
    };
    if (vector_rows(kVector, {&x, &shift, &scale, &out})) {
      with_row_tile<kVector>(x.rows(), x.columns(), run);
    } else {
      with_row_tile<1>(x.rows(), x.columns(), run);
    }
  });
}

}  // namespace sana::cuda
