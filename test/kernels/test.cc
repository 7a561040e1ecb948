#include <cstdio>
#include <string>

#include "core/error.h"
#include "core/generated/operators.h"
#include "test/kernels/compare.h"
#include "test/kernels/options.h"
#include "test/kernels/setup.h"
#include "test/kernels/values.h"

namespace sana::kernels {
namespace {

constexpr int kRuns = 5;  // runs per program: from the third on, CUDA replays a graph

struct Verdict {
  std::string problem;  // empty if there is none
  Difference worst = {0, 0, 1};
};

Verdict judge(const Case& one, SanaDType dtype, const Options& options) {
  const SanaCall call = one.in(dtype);
  const Values values = input_values(call);
  Setup setup(options.device, call, values);
  setup.run();
  const Setup::Result first = setup.read();
  if (first.elsewhere) return {"memory outside the outputs was written"};

  Verdict verdict;
  Setup reference(options.reference, one.in_f32(), reference_values(call, values));
  reference.run();
  const Setup::Result expected = reference.read();
  for (size_t i = 0; i < first.bytes.size(); ++i) {
    if (first.bytes[i].empty()) continue;
    const uint32_t stored = call.operands[i].dtype, wide = one.in_f32().operands[i].dtype;
    const auto [ok, found] = compare(call, stored, decoded(first.bytes[i], stored), decoded(expected.bytes[i], wide));
    if (!(found.rel_l2 <= verdict.worst.rel_l2)) verdict.worst = found;
    if (!ok) verdict.problem = std::string("differs from the reference: ") + one.spec().operands[i].name;
  }

  for (int run = 2; run <= kRuns; ++run) {
    setup.fill();
    setup.run();
    if (setup.read() != first) verdict.problem = "different bits in run " + std::to_string(run);
  }
  for (const int input : replaceable(call)) {
    Setup over(options.device, call, values, 1, input);
    over.run();
    if (over.read() != first)
      verdict.problem = std::string("different bits when in place of ") + one.spec().operands[input].name;
  }
  return verdict;
}

}  // namespace

bool test(const Options& options) {
  int passed = 0, failed = 0, left_out = 0;
  const auto judged = [&](const Case& one, SanaDType dtype) {
    Verdict verdict;
    try {
      verdict = judge(one, dtype, options);
    } catch (const Error& error) {
      verdict.problem = error.what();
    }
    const bool ok = verdict.problem.empty();
    ++(ok ? passed : failed);
    std::printf("%-4s %-4s rel L2 %8.2e  max abs %8.2e  %s: %s%s%s\n", ok ? "ok" : "FAIL", kDTypeNames[dtype],
                verdict.worst.rel_l2, verdict.worst.max_abs, one.where.c_str(), one.text.c_str(), ok ? "" : ": ",
                verdict.problem.c_str());
    std::fflush(stdout);
  };
  for (const Case& one : options.cases) {
    for (const SanaDType dtype : options.dtypes) {
      if (one.fixed() && dtype != options.dtypes[0]) continue;
      if (one.flops > options.flops) {
        ++left_out;
      } else {
        judged(one, dtype);
      }
    }
  }
  if (left_out) std::printf("%d left out: more than %g FLOPs\n", left_out, options.flops);
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0;
}

}  // namespace sana::kernels
