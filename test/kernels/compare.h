// How far a result is from the reference, and how far it may be: the measures and figures of test/support/operators.ts
// and golden.ts.

#pragma once

#include <vector>

#include "core/backend.h"

namespace sana::kernels {

struct Difference {
  double rel_l2, max_abs, cos;
};

Difference difference(const std::vector<float>& actual, const std::vector<float>& expected);

struct Comparison {
  bool ok;
  Difference difference;  // what was compared: beyond the rounding of a bf16 or f16 output
};

// An output of this dtype against the reference in f32.
Comparison compare(const SanaCall&, uint32_t dtype, const std::vector<float>& actual, std::vector<float> expected);

}  // namespace sana::kernels
