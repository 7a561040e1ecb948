// out[0] = the number of NaN and infinite elements of x, at most 2^31 - 1
//
// x of any shape, out [1] i32. Bound by memory.

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/sum_over_row.h"
#include "cpu/parallel.h"

namespace sana::cpu::SANA_ISA {

void count_non_finite(const Arguments& arguments, Workers& workers) {
  const View& x = arguments.operands[op::CountNonFinite::kX];
  int64_t found = 0;

  with_types(x, [&](const auto* from) {
    parallel_elements(workers, x.rows() * x.columns(), [&](int64_t first, int64_t count) {
      const Vec infinity = splat(__builtin_inff());
      const float in_task =
          sum_over_row(from + first, count, [&](Vec v) { return select(abs(v) < infinity, zero(), splat(1.0f)); });
      __atomic_fetch_add(&found, static_cast<int64_t>(in_task), __ATOMIC_RELAXED);
    });
  });
  *arguments.operands[op::CountNonFinite::kOut].as<int32_t>() = static_cast<int32_t>(smaller(found, INT32_MAX));
}

}  // namespace sana::cpu::SANA_ISA
