// Quantises rows to i8 or f8 with a scale each (quantize_rows.h).
//
// x [rows, K] f32, bf16 or f16, any pitch, any K. A row is read once and stays in the registers of its threads
// (row_tile.h) between the search for its largest element and the rounding. Rows that are not aligned to 16 bytes, or
// do not fit in a block's registers, take the general path: element by element, read twice, the second time from the
// caches. Bound by memory: one read of x and a write of one byte per element.

#include <cfloat>

#include "cuda/element.h"
#include "cuda/kernels/over_threads.h"
#include "cuda/kernels/quantize_rows.h"
#include "cuda/kernels/row_tile.h"

namespace sana::cuda {
namespace {

constexpr int kGeneralThreads = 256;

// |x| as an integer that is ordered like |x|, with infinity above all numbers and NaN above infinity.
__device__ __forceinline__ uint32_t magnitude(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffff;
}

// Converts the elements of a row to i8 or f8.
template <class Q>
struct Quantizer {
  static constexpr float kMost = std::is_same_v<Q, f8> ? 448.0f : 127.0f;

  float scale, inverse;

  __device__ __forceinline__ explicit Quantizer(uint32_t largest) {
    float most;
    memcpy(&most, &largest, sizeof most);
    scale = most < INFINITY ? most / kMost : NAN;
    if (scale < FLT_MIN) scale = 0.0f;  // because its inverse would be infinite
    inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  }

  // Converts two elements to bytes, `low` to the lower one.
  __device__ __forceinline__ uint16_t operator()(float low, float high) const {
    if constexpr (std::is_same_v<Q, f8>) {
      return to_f8_pair(low * inverse, high * inverse);
    } else {
      const int pair = (__float2int_rn(low * inverse) & 0xff) | __float2int_rn(high * inverse) << 8;
      return static_cast<uint16_t>(pair);
    }
  }
};

// ---- kernels --------------------------------------------------------------------------------------------------------

template <class Tile, class X, class Q>
__global__ void __launch_bounds__(Tile::kThreads)
    quantize_rows_kernel(const X* x,  // [rows, columns], rows x_pitch apart
                         QuantizedRows out, int64_t rows, int columns, int64_t x_pitch, int out_pitch, int threads) {
  constexpr int N = Tile::kElements, V = Tile::kVectors;
  const int rows_of_block = static_cast<int>(blockDim.x) / threads;
  const int64_t row = int64_t(blockIdx.x) * rows_of_block + threadIdx.x / threads;
  const int first = static_cast<int>(threadIdx.x) % threads * N, stride = threads * N;
  const bool is_row = row < rows;  // threads without a row still take part in the search

  Packed<X, N> values[V];
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int column = first + v * stride;
    values[v] = Packed<X, N>(x + row * x_pitch + column, is_row && column < columns);
  }
  uint32_t largest = 0;
#pragma unroll
  for (int v = 0; v < V; ++v) {
#pragma unroll
    for (int i = 0; i < N; ++i) largest = max(largest, magnitude(values[v][i]));  // elements beyond the row are zero
  }
  const Quantizer<Q> quantize(max_over_threads<Tile::kMostThreadsOfRow>(largest, threads));
  if (!is_row) return;

  if (first == 0) out.scales[row] = quantize.scale;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const int column = first + v * stride;
    if (column >= out_pitch) continue;
    Vector<uint16_t, N / 2> pairs;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) pairs.elements[i] = quantize(values[v][2 * i], values[v][2 * i + 1]);
    *reinterpret_cast<Vector<uint16_t, N / 2>*>(out.elements + row * out_pitch + column) = pairs;
  }
}

// One block per row.
template <class X, class Q>
__global__ void __launch_bounds__(kGeneralThreads)
    general_kernel(const X* x,  // [rows, columns], rows x_pitch apart
                   QuantizedRows out, int columns, int64_t x_pitch, int out_pitch) {
  const int64_t row = blockIdx.x;
  x += row * x_pitch;
  uint32_t largest = 0;
  for (int i = static_cast<int>(threadIdx.x); i < columns; i += kGeneralThreads) {
    largest = max(largest, magnitude(to_float(x[i])));
  }
  const Quantizer<Q> quantize(max_over_threads<kGeneralThreads>(largest, kGeneralThreads));
  if (threadIdx.x == 0) out.scales[row] = quantize.scale;
  for (int i = static_cast<int>(threadIdx.x); i < out_pitch; i += kGeneralThreads) {
    out.elements[row * out_pitch + i] = static_cast<uint8_t>(quantize(i < columns ? to_float(x[i]) : 0.0f, 0.0f));
  }
}

}  // namespace

// ---- launchers ------------------------------------------------------------------------------------------------------

QuantizedRows quantized_weight(const View& weight) {
  uint8_t* const elements = weight.as<uint8_t>();
  const int64_t bytes = quantized_rows(weight.shape[0]) * quantized_pitch(weight.shape[1]);
  return {weight.dtype, elements, reinterpret_cast<float*>(elements + bytes)};
}

void quantize_rows(const void* x, DType dtype, int64_t rows, int64_t columns, int64_t pitch, const QuantizedRows& out,
                   const Stream& stream) {
  const int64_t out_pitch = quantized_pitch(columns);
  with_type(dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    constexpr int kVector = 16 / sizeof(X);
    const bool vectors = columns % kVector == 0 && pitch % kVector == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0;
    const X* const from = static_cast<const X*>(x);
    with_quantized_type(out.dtype, [&](auto quantized_tag) {
      using Q = typename decltype(quantized_tag)::Type;
      if (!vectors || out_pitch > RowTile<kVector, 5>::kMostColumns) {
        return launch(stream.handle, general_kernel<X, Q>, grid_size(rows), kGeneralThreads, 0, from, out, columns,
                      pitch, out_pitch);
      }
      with_row_tile<kVector>(rows, out_pitch, [&](auto tile) {
        launch(stream.handle, quantize_rows_kernel<decltype(tile), X, Q>, tile.grid, tile.block, 0, from, out, rows,
               columns, pitch, out_pitch, tile.threads);
      });
    });
  });
}

}  // namespace sana::cuda
