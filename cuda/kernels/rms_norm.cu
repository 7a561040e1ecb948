// out = activation(x * rsqrt(mean(x^2) + epsilon) * (weight + offset) + bias) + residual, the mean over C
//
// x, residual and out [..., C], each columns of a wider tensor, weight and bias [C] f32, C up to 16384; out may be x or
// residual.
//
// A row is read once and stays in the registers of its threads (row_tile.h): several rows to a warp for the
// autoencoder's millions of pixels of 128 channels, two warps to a row of 2304. The residual is read together with x,
// so that its latency overlaps with the sum. A thread holds vectors of 16 bytes of x, or single elements if rows are
// not aligned to 16 bytes (the general path). Bound by memory: one read of x and of residual, one write; weight and
// bias come from the caches.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"
#include "cuda/kernels/over_threads.h"
#include "cuda/kernels/row_tile.h"

namespace sana::cuda {
namespace {

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class Tile, class X, class Out>
__global__ void __launch_bounds__(Tile::kThreads)
    rms_norm_kernel(const X* x,           // [rows, C], rows x_pitch apart
                    const float* weight,  // [C]
                    const float* bias,    // [C] or null
                    const Out* residual,  // [rows, C], rows residual_pitch apart, or null
                    Out* out,             // [rows, C], rows out_pitch apart
                    int64_t rows, int columns, int64_t x_pitch, int64_t residual_pitch, int64_t out_pitch, int threads,
                    float epsilon, float offset, Activation function) {
  constexpr int N = Tile::kElements, V = Tile::kVectors;
  const int rows_of_block = static_cast<int>(blockDim.x) / threads;
  const int64_t row = int64_t(blockIdx.x) * rows_of_block + threadIdx.x / threads;
  const int first = static_cast<int>(threadIdx.x) % threads * N, stride = threads * N;
  const int end = row < rows ? columns : 0;  // threads without a row still take part in the sum

  Packed<X, N> values[V];
  Packed<Out, N> extra[V];
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int column = first + v * stride;
    values[v] = Packed<X, N>(x + row * x_pitch + column, column < end);
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int column = first + v * stride;
    extra[v] = Packed<Out, N>(residual + row * residual_pitch + column, residual && column < end);
  }
  float squares = 0.0f;
#pragma unroll
  for (int v = 0; v < V; ++v) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float value = values[v][i];  // elements beyond the row are zero
      squares += value * value;
    }
  }
  squares = sum_over_threads<Tile::kMostThreadsOfRow>(squares, threads);
  const float factor = rsqrtf(squares / static_cast<float>(columns) + epsilon);

#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int column = first + v * stride;
    if (column >= end) continue;
    float gains[N], biases[N] = {}, results[N];
    load<N>(weight + column, gains);
    if (bias) load<N>(bias + column, biases);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      results[i] = values[v][i] * factor * (gains[i] + offset) + biases[i];
    }
    if (function != Activation::kNone) {
#pragma unroll
      for (int i = 0; i < N; ++i) results[i] = activate(function, results[i]);
    }
#pragma unroll
    for (int i = 0; i < N; ++i) results[i] += extra[v][i];
    store<N>(out + row * out_pitch + column, results);
  }
}

// One element at a time; the second read of the row finds it in the caches.
template <class Tile, class X, class Out>
__global__ void __launch_bounds__(Tile::kThreads)
    general_kernel(const X* x,           // [rows, C], rows x_pitch apart
                   const float* weight,  // [C]
                   const float* bias,    // [C] or null
                   const Out* residual,  // [rows, C], rows residual_pitch apart, or null
                   Out* out,             // [rows, C], rows out_pitch apart
                   int64_t rows, int columns, int64_t x_pitch, int64_t residual_pitch, int64_t out_pitch, int threads,
                   float epsilon, float offset, Activation function) {
  const int rows_of_block = static_cast<int>(blockDim.x) / threads;
  const int64_t row = int64_t(blockIdx.x) * rows_of_block + threadIdx.x / threads;
  const int first = static_cast<int>(threadIdx.x) % threads;
  const int end = row < rows ? columns : 0;  // threads without a row still take part in the sum
  float squares = 0.0f;
  for (int c = first; c < end; c += threads) {
    const float value = to_float(x[row * x_pitch + c]);
    squares += value * value;
  }
  squares = sum_over_threads<Tile::kMostThreadsOfRow>(squares, threads);
  const float factor = rsqrtf(squares / static_cast<float>(columns) + epsilon);
  for (int c = first; c < end; c += threads) {
    const float normed = to_float(x[row * x_pitch + c]) * factor * (weight[c] + offset) + (bias ? bias[c] : 0.0f);
    const float extra = residual ? to_float(residual[row * residual_pitch + c]) : 0.0f;
    out[row * out_pitch + c] = from_float<Out>(activate(function, normed) + extra);
  }
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void rms_norm(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::RmsNorm::kX];                // [..., C]
  const View& weight = call.operands[op::RmsNorm::kWeight];      // [C]
  const View& bias = call.operands[op::RmsNorm::kBias];          // [C]
  const View& residual = call.operands[op::RmsNorm::kResidual];  // [..., C]
  const View& out = call.operands[op::RmsNorm::kOut];            // [..., C]
  with_types(x.dtype, out.dtype, [&](auto x_tag, auto out_tag) {
    using X = typename decltype(x_tag)::Type;
    using Out = typename decltype(out_tag)::Type;
    constexpr int kVector = 16 / sizeof(X);
    const auto run = [&](auto tile) {
      using Tile = decltype(tile);
      const auto kernel = [] {
        if constexpr (Tile::kElements == 1)
          return general_kernel<Tile, X, Out>;
        else
          return rms_norm_kernel<Tile, X, Out>;
      }();
      launch(stream.handle, kernel, tile.grid, tile.block, 0, x.as<X>(), weight.as<float>(), bias.as<float>(),
             residual.as<Out>(), out.as<Out>(), x.rows(), x.columns(), x.pitch, residual.pitch, out.pitch, tile.threads,
             call.number(op::RmsNorm::kEpsilon), call.number(op::RmsNorm::kOffset),
             call.choice<Activation>(op::RmsNorm::kActivation));
    };
    if (vector_rows(kVector, {&x, &weight, &bias, &residual, &out})) {
      with_row_tile<kVector>(x.rows(), x.columns(), run);
    } else {
      with_row_tile<1>(x.rows(), x.columns(), run);
    }
  });
}

}  // namespace sana::cuda
