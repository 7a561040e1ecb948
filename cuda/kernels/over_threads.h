// Sums and maxima over neighbouring threads of a block, with the same bits in each thread and in each run.

#pragma once

#include "cuda/machine/machine.h"

namespace sana::cuda {

// Combines the values of each group of `threads` threads: a power of two up to 32, or, if kMostThreads allows more, the
// whole block, which must be whole warps. Every thread of the block must call it.
template <int kMostThreads, class T, class Combine>
__device__ __forceinline__ T combine_over_threads(T value, int threads, Combine combine) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    if (distance < threads) value = combine(value, __shfl_xor_sync(~0u, value, distance));
  }
  if constexpr (kMostThreads > 32) {
    if (threads > 32) {
      __shared__ T of_warps[32];
      __syncthreads();  // wait until the values of an earlier call have been read
      if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
      __syncthreads();
      value = of_warps[0];
      for (int warp = 1; warp < threads / 32; ++warp) value = combine(value, of_warps[warp]);
    }
  }
  return value;
}

template <int kMostThreads, class T>
__device__ __forceinline__ T sum_over_threads(T value, int threads) {
  return combine_over_threads<kMostThreads>(value, threads, [](T a, T b) { return a + b; });
}

template <int kMostThreads, class T>
__device__ __forceinline__ T max_over_threads(T value, int threads) {
  return combine_over_threads<kMostThreads>(value, threads, [](T a, T b) { return max(a, b); });
}

}  // namespace sana::cuda
