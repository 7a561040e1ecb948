// The most multiply-adds the device does: independent accumulators in registers, no memory. What a kernel's time is
// measured against.

#include "cuda/kernels/kernels.h"
#include "cuda/machine.h"

namespace sana::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChains = 8;  // independent: hides the latency of one
constexpr int kBlocks = 4;  // per multiprocessor
constexpr int kRounds = 2048;

// `out` is never written: `never` is zero. It only keeps the sums from being optimised away.
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

__global__ void __launch_bounds__(kThreads) bf16_kernel(float* out, int rounds, int never) {
  float sums[kChains][4] = {};
  const uint32_t ones = 0x3f803f80u;
  const uint32_t a[4] = {ones, ones, ones, ones};
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) mma<bf16>(sums[i], a, ones, ones);
  }
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kChains; ++i) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  if (never) out[threadIdx.x] = total;
}

}  // namespace

double run_peak_f32(const Stream& stream) {
  const int blocks = stream.multiprocessors * kBlocks;
  launch(stream.handle, f32_kernel, blocks, kThreads, 0, reinterpret_cast<float*>(stream.workspace), kRounds, 0);
  return 2.0 * kRounds * kChains * kThreads * blocks;
}

double run_peak_bf16(const Stream& stream) {
  const int blocks = stream.multiprocessors * kBlocks;
  launch(stream.handle, bf16_kernel, blocks, kThreads, 0, reinterpret_cast<float*>(stream.workspace), kRounds, 0);
  return 2.0 * 16 * 8 * 16 * kRounds * kChains * (kThreads / 32) * blocks;
}

}  // namespace sana::cuda
