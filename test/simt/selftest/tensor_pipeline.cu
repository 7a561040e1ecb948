// A pipeline of tensor copies and products, with one bug at a time, and a table of the checks that find it.

#include "cuda/machine/hopper.h"
#include "cuda/tensor_maps.h"
#include "test/simt/selftest/cases.h"

namespace simt::selftest {
namespace {

using sana::cuda::Barrier;
using sana::cuda::barrier_arrive;
using sana::cuda::barrier_arrive_expecting;
using sana::cuda::barrier_init;
using sana::cuda::barrier_init_done;
using sana::cuda::barrier_wait;
using sana::cuda::bf16;
using sana::cuda::copy_tile;
using sana::cuda::kDescriptorStep;
using sana::cuda::kWarpgroup;
using sana::cuda::launch;
using sana::cuda::matrix_descriptor;
using sana::cuda::TensorMaps;
using sana::cuda::wgmma;
using sana::cuda::wgmma_commit;
using sana::cuda::wgmma_fence;
using sana::cuda::wgmma_wait;

enum class Bug {
  kNone,
  kNoWait,         // does not wait for the copies of a stage
  kWrongPhase,     // waits for the previous phase
  kFewBytes,       // expects the bytes of only one of two copies
  kManyBytes,      // expects more bytes than arrive
  kFreedEarly,     // signals that a stage is empty before the products have read it
  kNoProductWait,  // uses sums that are not complete
  kOneArrivalMore,
  kNoInitDone,  // the barriers may not be visible to copies
  kNoEndWait,   // the block ends while copies are in flight
};

constexpr int kSteps = 5, kStages = 2, kElements = 64;
constexpr int kHalfBytes = 64 * kElements * 2, kStageBytes = 2 * kHalfBytes;
constexpr int kBarriersAt = kStages * kStageBytes;

// out [64, 64] = left [64, K] right [64, K]^T, K = 5 * 64: a warpgroup multiplies the data that the thread after it
// copies.
__global__ void pipeline(const __grid_constant__ CUtensorMap left, const __grid_constant__ CUtensorMap right,
                         float* out, Bug bug) {
  SANA_DYNAMIC_SHARED(char, memory);
  auto* const full = reinterpret_cast<Barrier*>(memory + kBarriersAt);
  Barrier* const empty = full + kStages;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      barrier_init(&full[stage], 1);
      barrier_init(&empty[stage], kWarpgroup / 32);
    }
    if (bug != Bug::kNoInitDone) barrier_init_done();
  }
  __syncthreads();
  if (threadIdx.x >= kWarpgroup) {
    if (threadIdx.x > kWarpgroup) return;
    const int bytes = kStageBytes + (bug == Bug::kManyBytes ? 16 : bug == Bug::kFewBytes ? -kHalfBytes : 0);
    for (int step = 0; step < kSteps + (bug == Bug::kNoEndWait); ++step) {
      const int stage = step % kStages;
      barrier_wait(&empty[stage], step / kStages % 2 ^ 1);
      barrier_arrive_expecting(&full[stage], bytes);
      copy_tile(memory + stage * kStageBytes, left, &full[stage], step * kElements, 0, 0, 0);
      copy_tile(memory + stage * kStageBytes + kHalfBytes, right, &full[stage], step * kElements, 0, 0, 0);
    }
    return;
  }
  float sums[8][4];
  const bool tells = threadIdx.x % 32 == 0;
  for (int step = 0; step < kSteps; ++step) {
    const int stage = step % kStages, parity = step / kStages % 2;
    if (bug != Bug::kNoWait) barrier_wait(&full[stage], bug == Bug::kWrongPhase ? parity ^ 1 : parity);
    wgmma_fence();
    for (int k = 0; k < kElements / 16; ++k) {
      const uint64_t at = k * kDescriptorStep;
      wgmma<bf16>(sums, matrix_descriptor(memory + stage * kStageBytes) + at,
                  matrix_descriptor(memory + stage * kStageBytes + kHalfBytes) + at, step + k > 0);
    }
    wgmma_commit();
    if (tells && bug == Bug::kFreedEarly) barrier_arrive(&empty[stage]);
    if (threadIdx.x == 1 && step == 0 && bug == Bug::kOneArrivalMore) barrier_arrive(&empty[stage]);
    if (bug != Bug::kNoProductWait) wgmma_wait<0>();
    if (tells && bug != Bug::kFreedEarly) barrier_arrive(&empty[stage]);
  }
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  for (int j = 0; j < 8; ++j) {
    for (int i = 0; i < 4; ++i) out[(row + i / 2 * 8) * 64 + j * 8 + column + i % 2] = sums[j][i];
  }
}

bool run_pipeline(Bug bug, cudaStream_t stream) {
  constexpr int kInputs = kSteps * kElements;
  std::vector<bf16> left, right;
  for (int i = 0; i < 64 * kInputs; ++i) left.push_back(bf16(static_cast<float>(i * 7 % 31 - 15) / 4));
  for (int i = 0; i < 64 * kInputs; ++i) right.push_back(bf16(static_cast<float>(i * 5 % 23 - 11)));
  const Memory<bf16> device_left(left, stream), device_right(right, stream);
  const Memory<float> out(64 * 64);
  const TensorMaps maps;
  const auto map = [&](const void* data) {
    constexpr uint64_t kRow = kInputs * 2;
    return maps.tiles({data, sana::DType::kBF16, {kInputs, 64, 1, 1}, {kRow, kRow * 64, kRow * 64}}, 1, 64);
  };
  launch(stream, pipeline, 1, kWarpgroup + 32, kBarriersAt + 2 * kStages * sizeof(Barrier), map(device_left.data()),
         map(device_right.data()), out.data(), bug);
  const std::vector<float> got = out.read(stream);
  for (int m = 0; m < 64; ++m) {
    for (int n = 0; n < 64; ++n) {
      float sum = 0;
      for (int k = 0; k < kInputs; ++k) {
        sum += static_cast<float>(left[m * kInputs + k]) * static_cast<float>(right[n * kInputs + k]);
      }
      if (got[m * 64 + n] != sum) return false;
    }
  }
  return true;
}
template <Bug bug>
bool run_with(bool with, cudaStream_t stream) {
  return run_pipeline(with ? bug : Bug::kNone, stream);
}

}  // namespace

const std::vector<Planted> kHopperPlanted = {
    // name, run, wrong result in some order of threads, finding of the checked build, ended by the sanitizers
    {"no wait for a tensor copy", run_with<Bug::kNoWait>, true, "a read of", false},
    {"a wait for the wrong phase", run_with<Bug::kWrongPhase>, true, "a read of", false},
    {"a barrier that expects too few bytes", run_with<Bug::kFewBytes>, true, "a read of a tensor copy", false},
    {"a barrier that expects too many bytes", run_with<Bug::kManyBytes>, true, "deadlock", false},
    {"a stage that is freed before its products are done", run_with<Bug::kFreedEarly>, true, "may still read", false},
    {"no wait for products", run_with<Bug::kNoProductWait>, true, "may still read", false},
    {"an arrival more at a barrier than it was initialised for", run_with<Bug::kOneArrivalMore>, false,
     "may still read", false},
    {"barriers that copies may not see", run_with<Bug::kNoInitDone>, true, "barrier_init_done", false},
    {"a block that ends before its copies", run_with<Bug::kNoEndWait>, true, nullptr, false},
};

}  // namespace simt::selftest
