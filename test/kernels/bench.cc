// Every case is a program of copies with separate memory, so that no copy finds its operands in the cache. It is
// profiled call by call after a warm-up. A run's time is the mean over the copies. In addition, `replayed` is a copy's
// share of the time of a run that is queued as a whole, in which the launch of a short kernel overlaps with the
// previous kernel.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <map>

#include "core/error.h"
#include "core/generated/operators.h"
#include "core/tensor.h"
#include "test/kernels/record.h"
#include "test/kernels/setup.h"
#include "test/kernels/values.h"

namespace sana::kernels {
namespace {

constexpr double kCacheBytes = 3 * 60e6;  // the size of all copies together: three times the largest L2
constexpr int kMostCopies = 16;
constexpr int kWarmUp = 3;  // the third run is the first that CUDA replays as a graph

// The `p`-quantile by linear interpolation between neighbours.
double quantile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  const double position = p * double(values.size() - 1);
  const auto below = static_cast<size_t>(position), above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (position - double(below));
}

// The bytes of all operands, each element accessed once. The folded up-convolution stores 16/9 of its weight.
double bytes_of(const SanaCall& call) {
  double bytes = 0;
  for (const SanaTensor& tensor : call.operands) {
    if (!tensor.rank) continue;
    const double folded = tensor.layout == kSanaUpsampleConv2d ? 16.0 / 9 : 1;
    bytes += folded * double(elements(tensor)) * double(element_bytes(tensor.dtype));
  }
  return bytes;
}

Times time(Setup& setup, int copies, int runs) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> milliseconds(static_cast<size_t>(copies)), means, replays;
  for (int run = -kWarmUp; run < runs; ++run) {
    const Clock::time_point start = Clock::now();
    setup.run();
    const std::chrono::duration<double, std::milli> replay = Clock::now() - start;
    setup.run(milliseconds.data());
    if (run < 0) continue;
    double sum = 0;
    for (const double each : milliseconds) sum += each;
    means.push_back(sum / copies);
    replays.push_back(replay.count() / copies);
  }
  return {quantile(means, 0.5), quantile(means, 0), quantile(means, 0.9), quantile(replays, 0.5)};
}

// The difference of the output with the largest error.
Difference error_of(const Case& one, const SanaCall& call, const Values& values, const Setup& setup,
                    const std::shared_ptr<Device>& cpu) {
  const SanaCall wide = one.in_f32();
  Setup reference(cpu, wide, reference_values(call, values));
  reference.run();
  const Setup::Result actual = setup.read(), expected = reference.read();
  Difference worst = {-1, 0, 1};
  for (size_t i = 0; i < actual.bytes.size(); ++i) {
    if (actual.bytes[i].empty()) continue;
    const Difference found = difference(decoded(actual.bytes[i], call.operands[i].dtype),
                                        decoded(expected.bytes[i], wide.operands[i].dtype));
    if (!(found.rel_l2 <= worst.rel_l2)) worst = found;
  }
  return worst;
}

Measurement measure(const Case& one, SanaDType dtype, const Options& options, const SanaCeilings& ceilings) {
  const SanaCall call = one.in(dtype);
  const Values values = input_values(call);
  const bool bytes_multiplied = std::any_of(std::begin(call.operands), std::end(call.operands),
                                            [](const SanaTensor& operand) { return is_quantized(operand.dtype); });
  const double peak = bytes_multiplied    ? ceilings.i8_flops
                      : dtype == kSanaF32 ? ceilings.f32_flops
                                          : ceilings.bf16_flops;
  const double bytes = bytes_of(call);
  const double floor_ms = 1e3 * std::max(one.flops / peak, bytes / ceilings.bytes_per_second);
  const int copies = std::clamp(static_cast<int>(std::ceil(kCacheBytes / bytes)), 1, kMostCopies);
  Setup setup(options.device, call, values, copies);
  Measurement measured = {{}, one.flops / 1e12, bytes / 1e9, floor_ms, one.flops <= options.flops, {}};
  if (measured.compared) {  // before further runs, because some operators change their inputs
    setup.run();
    measured.error = error_of(one, call, values, setup, options.reference);
  }
  measured.ms = time(setup, copies, options.runs);
  return measured;
}

void print(const Case& one, SanaDType dtype, const Measurement& measured) {
  const auto& [ms, tflop, gb, floor_ms, compared, error] = measured;
  char rate[32] = "", off[32] = "not compared";
  if (tflop > 0) std::snprintf(rate, sizeof rate, "%.1f TFLOP/s", 1e3 * tflop / ms.median);
  if (compared) std::snprintf(off, sizeof off, "rel L2 %.1e", error.rel_l2);
  std::printf("%-4s %9.4f ms (min %.4f, p90 %.4f, replayed %.4f) %14s %6.0f GB/s %4.0f %% of floor  %s  %s\n",
              kDTypeNames[dtype], ms.median, ms.min, ms.p90, ms.replayed, rate, 1e3 * gb / ms.median,
              100 * floor_ms / ms.median, off, one.text.c_str());
  std::fflush(stdout);
}

}  // namespace

bool bench(const Options& options) {
  SanaCeilings ceilings;
  SanaFailure failure;
  check(options.device->backend().device_ceilings(options.device->handle(), &ceilings, &failure), failure);
  std::printf("%s: %.1f TFLOP/s in f32, %.1f in bf16, %.1f in i8, %.0f GB/s\n", options.device->describe().name,
              ceilings.f32_flops / 1e12, ceilings.bf16_flops / 1e12, ceilings.i8_flops / 1e12,
              ceilings.bytes_per_second / 1e9);
  Records records(options);
  struct Sum {
    double ms = 0, floor_ms = 0;
  };
  std::map<std::pair<std::string, SanaDType>, Sum> groups;
  bool good = true;
  for (const Case& one : options.cases) {
    for (const SanaDType dtype : options.dtypes) {
      try {
        const Measurement measured = measure(one, dtype, options, ceilings);
        print(one, dtype, measured);
        records.append(one, dtype, measured, kWarmUp);
        Sum& sum = groups[{one.group, dtype}];
        sum.ms += double(one.count) * measured.ms.median;
        sum.floor_ms += double(one.count) * measured.floor_ms;
      } catch (const Error& error) {
        good = false;
        std::printf("%-4s FAIL %s: %s: %s\n", kDTypeNames[dtype], one.where.c_str(), one.text.c_str(), error.what());
      }
    }
  }
  for (const auto& [key, sum] : groups) {
    if (key.first.empty()) continue;
    std::printf("%s %s: %.3f ms, floor %.3f ms (%.0f %%)\n", key.first.c_str(), kDTypeNames[key.second], sum.ms,
                sum.floor_ms, 100 * sum.floor_ms / sum.ms);
  }
  return good;
}

}  // namespace sana::kernels
