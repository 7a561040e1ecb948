// Compares the instructions of a warp with the manual, with results worked out by hand or by plain loops.

#include <cuda_fp8.h>

#include <bit>
#include <cmath>
#include <type_traits>

#include "test/simt/selftest/cases.h"

namespace simt::selftest {
namespace {

using sana::cuda::launch;

std::vector<int> run_on_warps(void (*kernel)(int*), unsigned threads, cudaStream_t stream) {
  const Memory<int> out(std::vector<int>(threads, -1), stream);
  launch(stream, kernel, 1, threads, 0, out.data());
  return out.read(stream);
}

// Calls expected(thread) for every thread.
template <class Expected>
bool is(const std::vector<int>& values, const Expected& expected) {
  for (int i = 0; i < static_cast<int>(values.size()); ++i) {
    if (values[i] != static_cast<int>(expected(i))) return false;
  }
  return true;
}

// ---- shuffles and votes ---------------------------------------------------------------------------------------------

__global__ void xor_kernel(int* out) {
  out[threadIdx.x] = __shfl_xor_sync(~0u, static_cast<int>(threadIdx.x), 5);
}
bool run_xor(cudaStream_t stream) {
  return is(run_on_warps(xor_kernel, 64, stream), [](int i) { return i ^ 5; });
}

__global__ void index_kernel(int* out) {
  out[threadIdx.x] = __shfl_sync(~0u, static_cast<int>(threadIdx.x), 11, 8);  // 11 mod 8 = 3
}
bool run_index(cudaStream_t stream) {
  return is(run_on_warps(index_kernel, 32, stream), [](int i) { return i / 8 * 8 + 3; });
}

__global__ void down_kernel(int* out) {
  out[threadIdx.x] = __shfl_down_sync(~0u, static_cast<int>(threadIdx.x), 3, 16);
}
bool run_down(cudaStream_t stream) {
  return is(run_on_warps(down_kernel, 32, stream), [](int i) { return i % 16 < 13 ? i + 3 : i; });
}

__global__ void up_kernel(int* out) {
  out[threadIdx.x] = __shfl_up_sync(~0u, static_cast<int>(threadIdx.x), 3, 16);
}
bool run_up(cudaStream_t stream) {
  return is(run_on_warps(up_kernel, 32, stream), [](int i) { return i % 16 >= 3 ? i - 3 : i; });
}

// Both halves of a warp at the same time, at different places in the code.
__global__ void halves_kernel(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  out[i] = i % 32 < 16 ? __shfl_xor_sync(0x0000ffffu, i, 1) : __shfl_down_sync(0xffff0000u, i, 2, 16);
}
bool run_halves(cudaStream_t stream) {
  return is(run_on_warps(halves_kernel, 64, stream), [](int i) {
    return i % 32 < 16 ? i ^ 1 : i % 16 < 14 ? i + 2 : i;
  });
}

__global__ void ballot_kernel(int* out) {
  out[threadIdx.x] = static_cast<int>(__ballot_sync(~0u, threadIdx.x % 3 == 0));
}
bool run_ballot(cudaStream_t stream) {
  // bits 0, 3, ... 30; the second warp's lane 1 is thread 33
  return is(run_on_warps(ballot_kernel, 64, stream), [](int i) { return i < 32 ? 0x49249249 : 0x92492492; });
}

__global__ void partial_ballot_kernel(int* out) {
  if (threadIdx.x >= 8) return;
  out[threadIdx.x] = static_cast<int>(__ballot_sync(0xffu, threadIdx.x > 2)) +
                     1000 * __any_sync(0xffu, threadIdx.x == 7) + 10000 * __all_sync(0xffu, threadIdx.x < 7);
}
bool run_partial_ballot(cudaStream_t stream) {
  return is(run_on_warps(partial_ballot_kernel, 32, stream), [](int i) { return i < 8 ? 0xf8 + 1000 : -1; });
}

// ---- threads that exit ----------------------------------------------------------------------------------------------

__global__ void early_exit_kernel(int* out) {
  __shared__ int value;
  const int i = static_cast<int>(threadIdx.x);
  if (i >= 40) return;
  if (i == 39) value = 7;
  __syncthreads();
  out[i] = value;
}
bool run_early_exit(cudaStream_t stream) {
  return is(run_on_warps(early_exit_kernel, 64, stream), [](int i) { return i < 40 ? 7 : -1; });
}

// The upper lanes exit before or after the lower ones begin to wait for the whole warp.
__global__ void exit_from_warp_kernel(int* out) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= 16) return;
  out[i] = static_cast<int>(__ballot_sync(~0u, 1)) + __shfl_xor_sync(~0u, i, 1);
}
bool run_exit_from_warp(cudaStream_t stream) {
  return is(run_on_warps(exit_from_warp_kernel, 32, stream), [](int i) { return i < 16 ? 0xffff + (i ^ 1) : -1; });
}

// ---- asynchronous copies --------------------------------------------------------------------------------------------

__global__ void copy_kernel(const int* x, int* out) {
  __shared__ __align__(16) int row[128];
  sana::cuda::copy_async(row + 4 * threadIdx.x, x + 4 * threadIdx.x, threadIdx.x % 2 == 0);
  sana::cuda::copy_commit();
  sana::cuda::copy_wait<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) out[i * 32 + threadIdx.x] = row[i * 32 + threadIdx.x];
}
bool run_copy(cudaStream_t stream) {
  std::vector<int> values(128);
  for (int i = 0; i < 128; ++i) values[i] = i + 1;
  const Memory<int> x(values, stream), out(128);
  launch(stream, copy_kernel, 1, 32, 0, x.data(), out.data());
  return is(out.read(stream), [](int i) { return i / 4 % 2 == 0 ? i + 1 : 0; });
}

// ---- matrices -------------------------------------------------------------------------------------------------------

// Matrix m is rows 8 m.. of x [32, 8]; out[lane][m] is the lane's pair of elements of it.
__global__ void matrices_kernel(const uint16_t* x, uint32_t* out, bool transposed) {
  __shared__ __align__(16) uint16_t rows[32][8];
  for (int i = 0; i < 8; ++i) rows[threadIdx.x][i] = x[threadIdx.x * 8 + i];
  __syncthreads();
  uint32_t fragment[4];
  if (transposed) {
    sana::cuda::load_matrices_transposed(fragment, rows[threadIdx.x]);
  } else {
    sana::cuda::load_matrices(fragment, rows[threadIdx.x]);
  }
  for (int m = 0; m < 4; ++m) out[threadIdx.x * 4 + m] = fragment[m];
}
bool run_matrices(bool transposed, cudaStream_t stream) {
  std::vector<uint16_t> values(32 * 8);
  for (int i = 0; i < 32 * 8; ++i) values[i] = static_cast<uint16_t>(i * 257);
  const Memory<uint16_t> x(values, stream);
  const Memory<uint32_t> out(32 * 4);
  launch(stream, matrices_kernel, 1, 32, 0, x.data(), out.data(), transposed);
  const std::vector<uint32_t> result = out.read(stream);
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < 4; ++m) {
      const int r = lane / 4, c = 2 * (lane % 4);
      const auto element = [&](int row, int column) -> uint32_t { return values[(8 * m + row) * 8 + column]; };
      const uint32_t low = transposed ? element(c, r) : element(r, c);
      const uint32_t high = transposed ? element(c + 1, r) : element(r, c + 1);
      if (result[lane * 4 + m] != (low | high << 16)) return false;
    }
  }
  return true;
}
bool run_matrices_plain(cudaStream_t stream) {
  return run_matrices(false, stream);
}
bool run_matrices_transposed(cudaStream_t stream) {
  return run_matrices(true, stream);
}

// c [16, 8] += a [16, K] b [K, 8], with each lane's elements as described in cuda/machine/machine.h: K is 16, or 32 for
// i8 and f8.
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, int8_t>, int32_t, float>;
template <class T>
constexpr int kHeld = 4 / sizeof(T);  // elements per register
template <class T>
constexpr int kInputs = 8 * kHeld<T>;

template <class T>
__global__ void mma_kernel(const T* a, const T* b, const Sum<T>* c, Sum<T>* out) {
  constexpr int K = kInputs<T>;
  const int g = threadIdx.x / 4, t = 2 * (threadIdx.x % 4), k = kHeld<T> * (threadIdx.x % 4);
  const auto held = [](const T* first, int apart) {
    T elements[kHeld<T>];
    for (int i = 0; i < kHeld<T>; ++i) elements[i] = first[i * apart];
    uint32_t bits;
    memcpy(&bits, elements, sizeof bits);
    return bits;
  };
  const auto of_a = [&](int row, int column) { return held(a + row * K + column, 1); };
  const auto of_b = [&](int row) { return held(b + row * 8 + g, 8); };
  const uint32_t fragment[4] = {of_a(g, k), of_a(g + 8, k), of_a(g, k + K / 2), of_a(g + 8, k + K / 2)};
  Sum<T> sums[4] = {c[g * 8 + t], c[g * 8 + t + 1], c[(g + 8) * 8 + t], c[(g + 8) * 8 + t + 1]};
  sana::cuda::mma<T>(sums, fragment, of_b(k), of_b(k + K / 2));
  out[g * 8 + t] = sums[0];
  out[g * 8 + t + 1] = sums[1];
  out[(g + 8) * 8 + t] = sums[2];
  out[(g + 8) * 8 + t + 1] = sums[3];
}
template <class T>
T element(float x) {
  if constexpr (std::is_same_v<T, f8>) {
    return to_f8(x);
  } else {
    return T(x);
  }
}
template <class T>
Sum<T> number(T x) {
  if constexpr (std::is_same_v<T, f8>) {
    return to_float(x);
  } else {
    return static_cast<Sum<T>>(x);
  }
}

// Small multiples of 1/4, so that every sum is exact.
template <class T>
bool run_mma(cudaStream_t stream) {
  constexpr int K = kInputs<T>;
  std::vector<T> a, b;
  std::vector<Sum<T>> c;
  for (int i = 0; i < 16 * K; ++i) a.push_back(element<T>(static_cast<float>(i * 7 % 31 - 15) / 4));
  for (int i = 0; i < K * 8; ++i) b.push_back(element<T>(static_cast<float>(i * 5 % 23 - 11)));
  for (int i = 0; i < 16 * 8; ++i) c.push_back(static_cast<Sum<T>>(i - 60));
  const Memory<T> device_a(a, stream), device_b(b, stream);
  const Memory<Sum<T>> device_c(c, stream), out(16 * 8);
  launch(stream, mma_kernel<T>, 1, 32, 0, device_a.data(), device_b.data(), device_c.data(), out.data());
  const std::vector<Sum<T>> result = out.read(stream);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      Sum<T> sum = c[m * 8 + n];
      for (int k = 0; k < K; ++k) sum += number(a[m * K + k]) * number(b[k * 8 + n]);
      if (result[m * 8 + n] != sum) return false;
    }
  }
  return true;
}

// Compares with CUDA's conversion: every bf16, every midpoint between two f8, and the neighbours of both.
__global__ void to_f8_kernel(const float* x, uint16_t* out) {
  out[threadIdx.x] = sana::cuda::to_f8_pair(x[2 * threadIdx.x], x[2 * threadIdx.x + 1]);
}
bool run_to_f8(cudaStream_t stream) {
  std::vector<float> x;
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (const uint32_t low : {0u, 1u, 0x8000u, 0xffffu}) x.push_back(std::bit_cast<float>(high << 16 | low));
  }
  for (unsigned at = 0; at < x.size(); at += 2048) {
    const std::vector<float> part(x.begin() + at, x.begin() + at + 2048);
    const Memory<float> given(part, stream);
    const Memory<uint16_t> out(1024);
    launch(stream, to_f8_kernel, 1, 1024, 0, given.data(), out.data());
    const std::vector<uint16_t> pairs = out.read(stream);
    for (int i = 0; i < 2048; ++i) {
      if ((pairs[i / 2] >> i % 2 * 8 & 0xff) != __nv_cvt_float_to_fp8(part[i], __NV_SATFINITE, __NV_E4M3)) return false;
    }
  }
  for (int bits = 0; bits < 256; ++bits) {
    const auto half = __nv_cvt_fp8_to_halfraw(static_cast<__nv_fp8_storage_t>(bits), __NV_E4M3);
    const float theirs = __half2float(__half(half)), ours = to_float(f8{static_cast<uint8_t>(bits)});
    if (theirs != ours && !(theirs != theirs && ours != ours)) return false;
  }
  return true;
}

}  // namespace

const std::vector<Instruction> kInstructions = {
    {"shfl_xor", run_xor},
    {"shfl with a width", run_index},
    {"shfl_down with a width", run_down},
    {"shfl_up with a width", run_up},
    {"shuffles of half warps", run_halves},
    {"ballot", run_ballot},
    {"ballot, any and all of some lanes", run_partial_ballot},
    {"threads that exit before a barrier", run_early_exit},
    {"lanes that exit before a collective", run_exit_from_warp},
    {"copies, valid or not", run_copy},
    {"ldmatrix", run_matrices_plain},
    {"ldmatrix, transposed", run_matrices_transposed},
    {"mma of bf16", run_mma<__nv_bfloat16>},
    {"mma of f16", run_mma<__half>},
    {"mma of i8", run_mma<int8_t>},
    {"mma of f8", run_mma<f8>},
    {"f8 from f32", run_to_f8},
};

}  // namespace simt::selftest
