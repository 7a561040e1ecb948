// The peak rate of multiply-adds of the device: independent accumulators in registers, no memory. Kernels' times are
// compared with it.

#include "cuda/kernels/kernels.h"
#include "cuda/machine/machine.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChains = 8;  // independent, to hide the latency
constexpr int kBlocks = 4;  // per multiprocessor
constexpr int kRounds = 2048;

// `out` is never written, because `never` is zero. It only keeps the sums from being optimised away.
__global__ void __launch_bounds__(kThreads) f32_kernel(float* out, int rounds, int never) {
  float sums[kChains];
#pragma unroll
  for (int i = 0; i < kChains; ++i) sums[i] = static_cast<float>(threadIdx.x + i);
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) sums[i] = fmaf(sums[i], 0.999f, 1e-3f);
  }
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kChains; ++i) total += sums[i];
  if (never) out[threadIdx.x] = total;
}

// T: the type of the elements, which are all 1; Sum: the type of their sums.
template <class T, class Sum>
__global__ void __launch_bounds__(kThreads) tensor_core_kernel(float* out, uint32_t ones, int rounds, int never) {
  Sum sums[kChains][4] = {};
  const uint32_t a[4] = {ones, ones, ones, ones};
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) mma<T>(sums[i], a, ones, ones);
  }
  Sum total = 0;
#pragma unroll
  for (int i = 0; i < kChains; ++i) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  if (never) out[threadIdx.x] = static_cast<float>(total);
}

}  // namespace

double run_peak_f32(const Stream& stream) {
  const int blocks = stream.multiprocessors * kBlocks;
  launch(stream.handle, f32_kernel, blocks, kThreads, 0, reinterpret_cast<float*>(stream.workspace), kRounds, 0);
  return 2.0 * kRounds * kChains * kThreads * blocks;
}

template <class T, class Sum>
static double run_peak_tensor_cores(const Stream& stream, uint32_t ones) {
  const int blocks = stream.multiprocessors * kBlocks;
  launch(stream.handle, tensor_core_kernel<T, Sum>, blocks, kThreads, 0, reinterpret_cast<float*>(stream.workspace),
         ones, kRounds, 0);
  const int depth = 32 / sizeof(T);  // of one instruction, whose result is 16 x 8
  return 2.0 * 16 * 8 * depth * kRounds * kChains * (kThreads / 32) * blocks;
}

double run_peak_bf16(const Stream& stream) {
  return run_peak_tensor_cores<bf16, float>(stream, 0x3f803f80);
}

double run_peak_i8(const Stream& stream) {
  return run_peak_tensor_cores<int8_t, int32_t>(stream, 0x01010101);
}

}  // namespace sana::cuda
