// The difference of a result from the reference, and the tolerance: the same measures and values as in
// test/support/operators.ts and golden.ts.

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
  Difference difference;  // the compared difference: without the rounding of a bf16 or f16 output
};

// Compares an output of this dtype with the reference in f32.
Comparison compare(const SanaCall&, uint32_t dtype, const std::vector<float>& actual, std::vector<float> expected);

}  // namespace sana::kernels
