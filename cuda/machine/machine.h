// Machine-specific operations: launches, dynamic shared memory, asynchronous copies, tensor-core instructions. Only
// this header and machine/hopper.h contain PTX; the emulation in test/simt replaces both by headers of the same names.

#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda/error.h"

namespace sana::cuda {

using bf16 = __nv_bfloat16;
using f16 = __half;
struct f8 {  // e4m3
  uint8_t bits;
};

// The block's dynamic shared memory as an array of T.
#define SANA_DYNAMIC_SHARED(T, name)                              \
  extern __shared__ __align__(1024) unsigned char name##_bytes[]; \
  T* const name = reinterpret_cast<T*>(name##_bytes)

// Queues kernel<<<grid, block, shared_bytes>>>(arguments...) on the stream; throws if the launch fails.
template <class... Parameters, class... Given>
void launch(cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            const Given&... given) {
  constexpr size_t kWithoutAsking = 48 * 1024;
  if (shared_bytes > kWithoutAsking) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "cannot have the shared memory");
  }
  kernel<<<grid, block, shared_bytes, stream>>>(static_cast<Parameters>(given)...);
  check(cudaGetLastError(), "cannot launch the kernel");
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Starts copying 16 bytes to shared memory, bypassing the L1 cache. If `valid` is false, copies zeros and does not read
// the source. Both addresses are multiples of 16.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)), "l"(global), "r"(bytes)
               : "memory");
}

// Ends a group of this thread's copies.
__device__ __forceinline__ void copy_commit() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}

// Waits until at most `pending` of this thread's groups are in flight. Other threads see the data after a barrier.
template <int pending>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
}

// Loads four 8x8 matrices of 16-bit elements. Lane l passes the address of row l % 8 of matrix l / 8 (16 bytes,
// aligned) and receives elements 2 (l % 4) and + 1 of row l / 4 of each matrix.
__device__ __forceinline__ void load_matrices(uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same, with each matrix transposed.
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&fragment)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
               : "r"(shared_address(row))
               : "memory");
}

// c += a b by the warp on its tensor cores: a [16, 16] row by row, b [16, 8] column by column, c [16, 8] f32. Lane l,
// with g = l / 4 and t = 2 (l % 4), holds
//   a: (g, t..t+1) (g + 8, t..t+1) (g, t + 8..t + 9) (g + 8, t + 8..t + 9)
//   b: (t..t+1, g) (t + 8..t + 9, g)
//   c: (g, t) (g, t + 1) (g + 8, t) (g + 8, t + 1)
// T is the elements' type: mma<bf16>, mma<f16>.
template <class T>
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void mma<bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void mma<f16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\n"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same for i8, exact: a [16, 32], b [32, 8], c [16, 8] i32. A register holds the same bytes of K as with 16-bit
// elements: a lane's (g, t..t+1) are four successive i8, so load_matrices works for both.
template <class T>
__device__ __forceinline__ void mma(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void mma<int8_t>(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\n"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Whether this is device code for an architecture with e4m3 instructions, and whether kernels for elements of type T
// have a body in it. Kernels without a body are never launched, because the device refuses the dtype.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
#define SANA_F8_CODE 1
#else
#define SANA_F8_CODE 0
#endif
template <class T>
inline constexpr bool kHasCode = SANA_F8_CODE || !std::is_same_v<T, f8>;

// Converts two f32 to f8, `low` to the lower byte. Rounds to nearest even; magnitudes above 448, and infinities, become
// 448 with their sign; NaN becomes 0x7f.
__device__ __forceinline__ uint16_t to_f8_pair(float low, float high) {
#if SANA_F8_CODE
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;\n" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
#else
  __trap();
  return 0;
#endif
}

// The same as mma<int8_t> for f8, with sums in f32. Products are exact; the rounding of partial sums depends on the
// tensor cores.
template <>
__device__ __forceinline__ void mma<f8>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if SANA_F8_CODE
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  __trap();
#endif
}

// 2^x and 1 / x with a relative error of about 2^-22, one instruction each; denormals are flushed to zero.
__device__ __forceinline__ float exp2_approximately(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float reciprocal_approximately(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace sana::cuda
