// Sums over neighbouring threads of a block, the same bits in every one of them and in every run.

#pragma once

#include "cuda/machine.h"

namespace sana::cuda {

// The sum of `value` over groups of `threads` threads: a power of two up to 32, or the whole block of whole warps where
// kMostThreads allows more. Every thread of the block must call it.
template <int kMostThreads, class T>
__device__ __forceinline__ T sum_over_threads(T value, int threads) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    if (distance < threads) value += __shfl_xor_sync(~0u, value, distance);
  }
  if constexpr (kMostThreads > 32) {
    if (threads > 32) {
      __shared__ T sums[32];
      __syncthreads();  // the sums of an earlier call have been read
      if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
      __syncthreads();
      value = sums[0];
      for (int warp = 1; warp < threads / 32; ++warp) value += sums[warp];
    }
  }
  return value;
}

}  // namespace sana::cuda
