#include "cpu/ceilings.h"

#include <string.h>

#include <algorithm>
#include <chrono>
#include <memory>

namespace sana::cpu {
namespace {

constexpr int kRuns = 20;  // the fastest counts, because other load on the machine can only slow a run down
constexpr int64_t kCopyBytes = 128 << 20;  // several times the size of the caches
constexpr int64_t kChunkBytes = 1 << 20;

// The best rate of a few runs of `body`, in units per second; `body` returns how many units it did.
template <class Body>
double best_rate(const Body& body) {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const Clock::time_point start = Clock::now();
    const double units = body();
    best = std::max(best, units / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

struct Copy {
  const char* from;
  char* to;
};

void copy_chunk(void* context, int64_t chunk, int) {
  const Copy& copy = *static_cast<const Copy*>(context);
  memcpy(copy.to + chunk * kChunkBytes, copy.from + chunk * kChunkBytes, kChunkBytes);
}

}  // namespace

SanaCeilings measure_ceilings(const Path& path, Workers& workers) {
  SanaCeilings ceilings{};
  ceilings.f32_flops = best_rate([&] { return path.run_peak_f32(workers); });
  ceilings.bf16_flops = best_rate([&] { return path.run_peak_bf16(workers); });
  ceilings.i8_flops = best_rate([&] { return path.run_peak_i8(workers); });
  const auto memory = std::make_unique<char[]>(2 * kCopyBytes);  // zero-filled, so every page has been touched
  Copy copy{memory.get(), memory.get() + kCopyBytes};
  ceilings.bytes_per_second = best_rate([&] {
    workers.run(kCopyBytes / kChunkBytes, copy_chunk, &copy);
    return 2.0 * kCopyBytes;
  });
  return ceilings;
}

}  // namespace sana::cpu
