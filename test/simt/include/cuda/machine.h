// The emulation's machine.h: the names of cuda/machine.h, and of CUDA's own language, for the host's compiler. Kernels
// are compiled as they are, with this header found before cuda/machine.h.

#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <tuple>
#include <type_traits>

#include "cuda/error.h"
#include "test/simt/runtime.h"
#include "test/simt/scheduler.h"

// ---- the language ---------------------------------------------------------------------------------------------------

#undef __shared__
#undef __global__
#undef __device__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#define __shared__ static  // one launch at a time
#define __global__
#define __device__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (simt::context.fiber->thread_index)
#define blockIdx (simt::context.block_index)
#define blockDim (simt::context.block_size)
#define gridDim (simt::context.grid_size)

inline void __syncthreads() {
  simt::block_barrier();
}
inline void __threadfence() {}
SIMT_RUNTIME inline void __syncwarp(unsigned mask = ~0u) {
  int nothing = 0;
  simt::collective(mask, nothing, nothing, [](auto&) { ++simt::context.fiber->warp->epoch; });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int = 32) {
  return simt::exchange(mask, value, static_cast<int>(simt::context.fiber->lane) ^ lanes);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = static_cast<int>(simt::context.fiber->lane);
  return simt::exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int lanes, int width = 32) {
  const int lane = static_cast<int>(simt::context.fiber->lane), source = lane + lanes;
  return simt::exchange(mask, value, source / width == lane / width ? source : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int lanes, int width = 32) {
  const int lane = static_cast<int>(simt::context.fiber->lane), source = lane - lanes;
  return simt::exchange(mask, value, source >= lane / width * width ? source : lane);
}
SIMT_RUNTIME inline unsigned __ballot_sync(unsigned mask, int predicate) {
  unsigned result = 0;
  simt::collective(mask, predicate, result, [mask](unsigned char (&slots)[32][64]) {
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) {
      int vote;
      std::memcpy(&vote, slots[lane], sizeof vote);
      if (mask >> lane & 1 && vote) votes |= 1u << lane;
    }
    for (auto& slot : slots) std::memcpy(slot, &votes, sizeof votes);
  });
  return result;
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, !predicate) == 0;
}

template <class T>
SIMT_RUNTIME T atomicAdd(T* to, T value) {
  simt::note(to, sizeof(T), simt::Access::kAtomic);
  const T before = *to;
  *to = before + value;
  return before;
}
template <class T>
SIMT_RUNTIME T atomicMin(T* to, T value) {
  simt::note(to, sizeof(T), simt::Access::kAtomic);
  const T before = *to;
  if (value < before) *to = value;
  return before;
}
template <class T>
T __ldg(const T* from) {
  return *from;
}

inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __fdividef(float a, float b) {
  return a / b;
}
inline float __fmul_rn(float a, float b) {
  float product = a * b;
  asm("" : "+x"(product));  // the host's compiler must not fuse it into an addition either
  return product;
}
template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
T max(T a, T b) {
  return a < b ? b : a;
}

// ---- cuda/machine.h -------------------------------------------------------------------------------------------------

namespace sana::cuda {

using bf16 = __nv_bfloat16;
using f16 = __half;

#define SANA_DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(simt::context.dynamic_shared)

template <class... Parameters, class... Given>
void launch(cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            const Given&... given) {
  std::tuple<Parameters...> arguments(static_cast<Parameters>(given)...);
  check(simt::queue_launch(stream, grid, block, shared_bytes, [=] { std::apply(kernel, arguments); }),
        "cannot launch the kernel");
}

SIMT_RUNTIME inline void copy_async(void* shared, const void* global, bool valid) {
  simt::Fiber* const fiber = simt::context.fiber;
  if (fiber->copy_count == simt::Fiber::kMostCopies) __builtin_trap();
  if ((reinterpret_cast<uintptr_t>(shared) | (valid ? reinterpret_cast<uintptr_t>(global) : 0)) & 15) __builtin_trap();
  simt::note(shared, 16, simt::Access::kCopyStarted);  // nobody may touch it until the wait
  fiber->copies[fiber->copy_count++] = {shared, valid ? global : nullptr, fiber->copy_group};
}

SIMT_RUNTIME inline void copy_commit() {
  simt::context.fiber->copy_group++;
}

// The data lands only here, so that a missing wait is seen.
template <int pending>
SIMT_RUNTIME void copy_wait() {
  simt::Fiber* const fiber = simt::context.fiber;
  int kept = 0;
  for (int i = 0; i < fiber->copy_count; ++i) {
    const simt::AsyncCopy& copy = fiber->copies[i];
    if (copy.group >= fiber->copy_group - pending) {
      fiber->copies[kept++] = copy;
      continue;
    }
    simt::note(copy.to, 16, simt::Access::kCopyLanded);
    if (copy.from) {
      simt::note(copy.from, 16, simt::Access::kRead);
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }
  fiber->copy_count = kept;
}

template <bool transposed>
SIMT_RUNTIME void load_matrices_as(uint32_t (&fragment)[4], const void* row) {
  if (reinterpret_cast<uintptr_t>(row) & 15) __builtin_trap();
  simt::note(row, 16, simt::Access::kRead);
  simt::collective(~0u, row, fragment, [](unsigned char (&slots)[32][64]) {
    uint16_t matrices[4][8][8];
    for (int lane = 0; lane < 32; ++lane) {
      const void* from;
      std::memcpy(&from, slots[lane], sizeof from);
      std::memcpy(matrices[lane / 8][lane % 8], from, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int r = lane / 4, c = lane % 4 * 2;
      uint16_t out[4][2];
      for (int m = 0; m < 4; ++m) {
        out[m][0] = transposed ? matrices[m][c][r] : matrices[m][r][c];
        out[m][1] = transposed ? matrices[m][c + 1][r] : matrices[m][r][c + 1];
      }
      std::memcpy(slots[lane], out, sizeof out);
    }
  });
}
inline void load_matrices(uint32_t (&fragment)[4], const void* row) {
  load_matrices_as<false>(fragment, row);
}
inline void load_matrices_transposed(uint32_t (&fragment)[4], const void* row) {
  load_matrices_as<true>(fragment, row);
}

template <class T>
SIMT_RUNTIME void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  struct In {
    float c[4];
    uint32_t a[4], b[2];
  } in = {{c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  simt::collective(~0u, in, c, [](unsigned char (&slots)[32][64]) {
    using Row = float __attribute__((vector_size(32)));
    const auto element = [](uint32_t pair, int which) {
      const auto half = static_cast<uint16_t>(which ? pair >> 16 : pair);
      if constexpr (std::is_same_v<T, bf16>) {
        const uint32_t bits = uint32_t{half} << 16;
        float x;
        std::memcpy(&x, &bits, sizeof x);
        return x;
      } else {
        f16 x;
        std::memcpy(static_cast<void*>(&x), &half, sizeof x);
        return __half2float(x);
      }
    };
    float left[16][16];
    Row right[16], sums[16];
    for (int lane = 0; lane < 32; ++lane) {
      In in;
      std::memcpy(&in, slots[lane], sizeof in);
      const int g = lane / 4, t = lane % 4 * 2;
      for (int j = 0; j < 2; ++j) {
        for (int i = 0; i < 4; ++i) left[g + i % 2 * 8][t + i / 2 * 8 + j] = element(in.a[i], j);
        for (int i = 0; i < 2; ++i) right[t + i * 8 + j][g] = element(in.b[i], j);
      }
      for (int i = 0; i < 4; ++i) sums[g + i / 2 * 8][t + i % 2] = in.c[i];
    }
    for (int m = 0; m < 16; ++m) {
      for (int k = 0; k < 16; ++k) sums[m] += left[m][k] * right[k];
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4 * 2;
      const float out[4] = {sums[g][t], sums[g][t + 1], sums[g + 8][t], sums[g + 8][t + 1]};
      std::memcpy(slots[lane], out, sizeof out);
    }
  });
}

inline float exp2_approximately(float x) {
  return std::exp2(x);
}
inline float reciprocal_approximately(float x) {
  return 1.0f / x;
}

}  // namespace sana::cuda
