// Two 16-bit elements in one register, the form in which tensor-core instructions take them.

#pragma once

#include <type_traits>

#include "cuda/element.h"

namespace sana::cuda {

template <class T>
using Pair = std::conditional_t<std::is_same_v<T, bf16>, __nv_bfloat162, __half2>;

template <class T>
__device__ __forceinline__ uint32_t bits_of(Pair<T> pair) {
  uint32_t bits;
  memcpy(&bits, static_cast<const void*>(&pair), sizeof bits);
  return bits;
}

template <class T>
__device__ __forceinline__ Pair<T> pair_of(uint32_t bits) {
  Pair<T> pair;
  memcpy(static_cast<void*>(&pair), &bits, sizeof pair);
  return pair;
}

// Rounds two numbers to T, in one instruction, and subtracts the rounded values from them: a second call returns the
// next bits of both.
template <class T>
__device__ __forceinline__ uint32_t take_pair(float& low, float& high) {
  Pair<T> pair;
  if constexpr (std::is_same_v<T, bf16>) {
    pair = __floats2bfloat162_rn(low, high);
  } else {
    pair = __floats2half2_rn(low, high);
  }
  low -= to_float(pair.x);
  high -= to_float(pair.y);
  return bits_of<T>(pair);
}

// relu of both; NaN stays NaN.
template <class T>
__device__ __forceinline__ uint32_t relu_pair(uint32_t bits) {
  return bits_of<T>(__hmax2_nan(pair_of<T>(bits), pair_of<T>(0)));
}

}  // namespace sana::cuda
