// out[0] = the number of NaN and infinite elements of x, at most 2^31 - 1
//
// x of any shape, out [1] i32. The blocks store their counts in the workspace, and one more block adds them up, so out
// need not be zero before. Bound by memory: x is read once, in vectors of 16 bytes, or element by element if x is not
// aligned to 16 bytes.

#include "cuda/element.h"
#include "cuda/kernels/kernels.h"
#include "cuda/kernels/over_threads.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerMultiprocessor = 8;

__device__ __forceinline__ int is_non_finite(float x) {
  return !(fabsf(x) < INFINITY);
}

// ---- kernels -------------------------------------------------------------------------------------------------------

template <class X>
__global__ void __launch_bounds__(kThreads) count_kernel(const X* __restrict__ x,  // [elements]
                                                         int64_t* counts,          // [blocks]
                                                         int64_t elements, bool aligned) {
  constexpr int N = 16 / sizeof(X);
  const int64_t thread = int64_t(blockIdx.x) * kThreads + threadIdx.x, threads = int64_t(gridDim.x) * kThreads;
  const int64_t vectors = aligned ? elements / N : 0;
  int64_t count = 0;
  for (int64_t i = thread; i < vectors; i += threads) {
    float values[N];
    load<N>(x + i * N, values);
    int found = 0;
#pragma unroll
    for (int j = 0; j < N; ++j) found += is_non_finite(values[j]);
    count += found;
  }
  for (int64_t i = vectors * N + thread; i < elements; i += threads) count += is_non_finite(to_float(x[i]));
  count = sum_over_threads<kThreads>(count, kThreads);
  if (threadIdx.x == 0) counts[blockIdx.x] = count;
}

__global__ void __launch_bounds__(kThreads) total_kernel(const int64_t* counts,  // [blocks]
                                                         int32_t* out,           // [1]
                                                         int blocks) {
  int64_t count = 0;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += kThreads) count += counts[i];
  count = sum_over_threads<kThreads>(count, kThreads);
  if (threadIdx.x == 0) out[0] = static_cast<int32_t>(min(count, int64_t(INT32_MAX)));
}

}  // namespace

// ---- launchers -----------------------------------------------------------------------------------------------------

void count_non_finite(const Call& call, const Stream& stream) {
  const View& x = call.operands[op::CountNonFinite::kX];
  const View& out = call.operands[op::CountNonFinite::kOut];  // [1]
  const int64_t elements = x.rows() * x.columns();
  const bool aligned = reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
  int64_t* counts = reinterpret_cast<int64_t*>(stream.workspace);
  with_type(x.dtype, [&](auto tag) {
    using X = typename decltype(tag)::Type;
    const int64_t needed = divide_up(elements, kThreads * (aligned ? 16 / sizeof(X) : 1));
    const int64_t blocks = min(needed, int64_t(stream.multiprocessors) * kBlocksPerMultiprocessor);
    launch(stream.handle, count_kernel<X>, grid_size(blocks), kThreads, 0, x.as<X>(), counts, elements, aligned);
    launch(stream.handle, total_kernel, 1, kThreads, 0, counts, out.as<int32_t>(), blocks);
  });
}

}  // namespace sana::cuda
