#include "cuda/ceilings.h"

#include <algorithm>

#include "cuda/error.h"
#include "cuda/kernels/kernels.h"

namespace sana::cuda {
namespace {

constexpr int kRuns = 10;  // the fastest counts, because clocks rise during the first

struct Event {
  Event() { SANA_CUDA(cudaEventCreate(&handle)); }
  ~Event() { cudaEventDestroy(handle); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t handle;
};

// The best rate of a few runs of `body`, in units per second; `body` returns how many units it queued.
template <class Body>
double best_rate(SanaDevice& device, const Body& body) {
  const Event start, end;
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    SANA_CUDA(cudaEventRecord(start.handle, device.stream.handle));
    const double units = body();
    SANA_CUDA(cudaEventRecord(end.handle, device.stream.handle));
    device.wait();
    float milliseconds = 0;
    SANA_CUDA(cudaEventElapsedTime(&milliseconds, start.handle, end.handle));
    if (milliseconds > 0) best = std::max(best, units / (milliseconds * 1e-3));
  }
  return best;
}

}  // namespace

SanaCeilings measure_ceilings(SanaDevice& device) {
  SanaCeilings ceilings = {};
  ceilings.f32_flops = best_rate(device, [&] { return run_peak_f32(device.stream); });
  ceilings.bf16_flops = best_rate(device, [&] { return run_peak_bf16(device.stream); });
  ceilings.i8_flops = best_rate(device, [&] { return run_peak_i8(device.stream); });
  // Twice the size of the largest existing second-level cache (126 MB), so that memory is measured, not the cache.
  const uint64_t bytes = uint64_t(256) << 20;
  SanaMemory* memory = device.allocate(2 * bytes);
  try {
    device.enter();
    ceilings.bytes_per_second = best_rate(device, [&] {
      SANA_CUDA(
          cudaMemcpyAsync(memory->data + bytes, memory->data, bytes, cudaMemcpyDeviceToDevice, device.stream.handle));
      return 2.0 * double(bytes);
    });
  } catch (...) {
    device.free(memory);
    throw;
  }
  device.free(memory);
  return ceilings;
}

}  // namespace sana::cuda
