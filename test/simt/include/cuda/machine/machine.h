// The emulation's machine.h, which defines the names of cuda/machine/machine.h and those of the CUDA language for the
// host's compiler. Kernels are compiled unchanged, with this header found before cuda/machine/machine.h.

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

#include "cuda/error.h"
#include "test/simt/checker.h"
#include "test/simt/collectives.h"
#include "test/simt/e4m3.h"
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

#define threadIdx (simt::context.thread_index)
#define blockIdx (simt::context.block_index)
#define blockDim (simt::context.block_size)
#define gridDim (simt::context.grid_size)

// Identified by their lines, because threads of a block must not wait at different ones.
inline void __syncthreads(int line = __builtin_LINE()) {
  simt::block_barrier(line);
}
inline void __threadfence() {
  simt::checker::fence();
}
SIMT_RUNTIME inline void __syncwarp(unsigned mask = ~0u) {
  simt::meet(mask, nullptr, 0, simt::sync_warp);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int = 32) {
  return simt::exchange(mask, value, static_cast<int>(simt::context.lane) ^ lanes);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const int lane = static_cast<int>(simt::context.lane);
  return simt::exchange(mask, value, (lane & ~(width - 1)) | (source & (width - 1)));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, int lanes, int width = 32) {
  const int lane = static_cast<int>(simt::context.lane), source = lane + lanes;
  return simt::exchange(mask, value, source / width == lane / width ? source : lane);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, int lanes, int width = 32) {
  const int lane = static_cast<int>(simt::context.lane), source = lane - lanes;
  return simt::exchange(mask, value, source >= lane / width * width ? source : lane);
}
SIMT_RUNTIME inline unsigned __ballot_sync(unsigned mask, int predicate) {
  unsigned votes;
  simt::collective(mask, predicate, votes, simt::ballot);
  return votes;
}
inline int __any_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) != 0;
}
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, !predicate) == 0;
}

template <class T>
SIMT_RUNTIME T atomicAdd(T* to, T value) {
  simt::checker::note(to, sizeof(T), simt::checker::Access::kAtomic);
  const T before = *to;
  *to = before + value;
  return before;
}
template <class T>
SIMT_RUNTIME T atomicMin(T* to, T value) {
  simt::checker::note(to, sizeof(T), simt::checker::Access::kAtomic);
  const T before = *to;
  if (value < before) *to = value;
  return before;
}
inline void __trap() {
  simt::abandon_launch("__trap");
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
inline int __float2int_rn(float x) {
  return std::isnan(x) ? 0 : static_cast<int>(std::nearbyint(x));
}
inline float __fmul_rn(float a, float b) {
  float product = a * b;
  asm("" : "+x"(product));  // keeps the host's compiler from fusing it with an addition
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

#if defined(__SANITIZE_THREAD__)  // the checked build does not see what these do
extern "C" void* simt_memcpy(void* to, const void* from, size_t bytes);
extern "C" void* simt_memset(void* to, int value, size_t bytes);
namespace std {
using ::simt_memcpy;
using ::simt_memset;
}  // namespace std
#define memcpy simt_memcpy
#define memset simt_memset
#endif

// ---- cuda/machine/machine.h
// -------------------------------------------------------------------------------------------------

namespace sana::cuda {

using bf16 = __nv_bfloat16;
using f16 = __half;
using f8 = simt::f8;

#define SANA_DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(simt::context.dynamic_shared)

template <class... Parameters>
struct KernelCall {
  void (*kernel)(Parameters...);
  std::tuple<Parameters...> arguments;
  void operator()() const {
    simt::context.call = this;
    simt::context.call_bytes = sizeof *this;
    std::apply(kernel, arguments);
  }
};

template <class... Parameters, class... Given>
void launch(cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            const Given&... given) {
  const simt::Grid launch = {grid, block, shared_bytes, reinterpret_cast<const void*>(kernel)};
  const KernelCall<Parameters...> call = {kernel, {static_cast<Parameters>(given)...}};
  check(simt::queue_launch(stream, launch, call), "cannot launch the kernel");
}

SIMT_RUNTIME inline void copy_async(void* shared, const void* global, bool valid) {
  simt::Fiber* const fiber = simt::context.fiber;
  if (fiber->copy_count == simt::Fiber::kMostCopies)
    simt::abandon_launch("more copies in flight than the emulation supports");
  if ((reinterpret_cast<uintptr_t>(shared) | (valid ? reinterpret_cast<uintptr_t>(global) : 0)) & 15) {
    simt::abandon_launch("copy_async: an address is not a multiple of 16");
  }
  simt::checker::note(shared, 16, simt::checker::Access::kCopyStarted);  // must not be accessed until the wait
  fiber->copies[fiber->copy_count++] = {shared, valid ? global : nullptr, fiber->copy_group};
}

SIMT_RUNTIME inline void copy_commit() {
  simt::context.fiber->copy_group++;
}

// The data is copied only here, so that a missing wait is noticed.
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
    simt::checker::note(copy.to, 16, simt::checker::Access::kCopyLanded);
    if (copy.from) {
      simt::checker::note(copy.from, 16, simt::checker::Access::kRead);
      __builtin_memcpy(copy.to, copy.from, 16);
    } else {
      __builtin_memset(copy.to, 0, 16);
    }
  }
  fiber->copy_count = kept;
}

SIMT_RUNTIME inline void load_matrices_as(uint32_t (&fragment)[4], const void* row, simt::Compute compute) {
  if (reinterpret_cast<uintptr_t>(row) & 15) simt::abandon_launch("load_matrices: an address is not a multiple of 16");
  simt::checker::note(row, 16, simt::checker::Access::kRead);
  simt::collective(~0u, row, fragment, compute);
}
inline void load_matrices(uint32_t (&fragment)[4], const void* row) {
  load_matrices_as(fragment, row, simt::load_matrices);
}
inline void load_matrices_transposed(uint32_t (&fragment)[4], const void* row) {
  load_matrices_as(fragment, row, simt::load_matrices_transposed);
}

template <class T>
SIMT_RUNTIME void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const simt::MmaOperands<float> operands = {{c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  simt::collective(~0u, operands, c, simt::mma<T>);
}

template <class T>
SIMT_RUNTIME void mma(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const simt::MmaOperands<int32_t> operands = {{c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {b0, b1}};
  simt::collective(~0u, operands, c, simt::mma<T>);
}

template <class T>
inline constexpr bool kHasCode = true;

inline uint16_t to_f8_pair(float low, float high) {
  return static_cast<uint16_t>(simt::to_f8(low).bits | simt::to_f8(high).bits << 8);
}

inline float exp2_approximately(float x) {
  return std::exp2(x);
}
inline float reciprocal_approximately(float x) {
  return 1.0f / x;
}

}  // namespace sana::cuda
