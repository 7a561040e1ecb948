#include "test/kernels/compare.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "core/generated/operators.h"
#include "test/kernels/values.h"

namespace sana::kernels {
namespace {

struct Tolerance {
  double rel_l2, max_abs;  // max_abs is relative to the largest expected magnitude if that is above 1
};

constexpr Tolerance kOperator = {2e-6, 1e-5};
// Angles up to 1000 have the error of the last bit of an f32 frequency.
constexpr Tolerance kTimestepEmbedding = {1e-5, 1e-4};
// Positions are f32, with an error of about 1e-7 of the side; the result has the same error relative to the difference
// between neighbouring pixels.
constexpr Tolerance kResizeCrop = {5e-6, 2e-5};
// The kernel multiplies by sums of taps that are rounded to bf16, an error as large as the output's rounding. f16 has
// three more bits.
constexpr Tolerance kFoldedTaps[] = {kOperator, {2e-3, 2e-2}, {2e-3 / 8, 2e-2 / 8}};

Tolerance tolerance_of(const std::string& op, const SanaCall& call) {
  if (op == "timestepEmbedding") return kTimestepEmbedding;
  if (op == "resizeCrop") return kResizeCrop;
  if (op == "upsampleConv2d") return kFoldedTaps[call.operands[0].dtype];
  return kOperator;
}

// Operators that only move or round elements, and one whose every operation is specified: they give the same bits
// everywhere.
bool is_exact(const std::string& op, const SanaCall& call) {
  if (op == "pixelShuffle") return !call.operands[1].rank;
  if (op == "pixelUnshuffle") {
    const double factor = call.attributes[0];  // the mean of one element is exact
    return !call.operands[1].rank &&
           factor * factor * double(call.operands[0].shape[3]) == double(call.operands[2].shape[3]);
  }
  return op == "convert" || op == "transpose" || op == "solverStep" || op == "toRgb8" || op == "countNonFinite";
}

// `actual`, moved towards `expected` by half a unit in the last place of bf16 (8 bits) or f16 (11 bits).
std::vector<float> beyond_rounding(const std::vector<float>& actual, const std::vector<float>& expected,
                                   uint32_t dtype) {
  std::vector<float> moved(actual.size());
  for (size_t i = 0; i < moved.size(); ++i) {
    const float e = expected[i];
    const float power = e == 0 ? 0 : std::ldexp(1.0f, std::ilogb(e));
    const float half = dtype == kSanaBF16 ? power * 0x1p-8f : std::max(power, 0x1p-14f) * 0x1p-11f;
    const float off = actual[i] - e;
    moved[i] = std::fabs(off) <= half ? e : e + (off - std::copysign(half, off));
  }
  return moved;
}

}  // namespace

Difference difference(const std::vector<float>& actual, const std::vector<float>& expected) {
  double max_abs = 0, error = 0, product = 0, actual_norm = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double a = actual[i], e = expected[i];
    max_abs = std::max(max_abs, std::fabs(a - e));  // ignores NaN; rel_l2 does not
    error += (a - e) * (a - e);
    product += a * e;
    actual_norm += a * a;
    norm += e * e;
  }
  return {std::sqrt(error / std::max(norm, 1e-30)), max_abs, product / std::max(std::sqrt(actual_norm * norm), 1e-30)};
}

Comparison compare(const SanaCall& call, uint32_t dtype, const std::vector<float>& actual,
                   std::vector<float> expected) {
  const std::string op = kOperators[call.op].name;
  const bool half = dtype == kSanaBF16 || dtype == kSanaF16;
  if (is_exact(op, call)) {
    if (half) {
      for (float& value : expected) value = rounded(value, dtype);
    }
    return {actual == expected, difference(actual, expected)};
  }
  float largest = 1;
  for (const float value : expected) largest = std::max(largest, std::fabs(value));
  const Tolerance tolerance = tolerance_of(op, call);
  const Difference found = difference(half ? beyond_rounding(actual, expected, dtype) : actual, expected);
  return {found.rel_l2 <= tolerance.rel_l2 && found.max_abs <= tolerance.max_abs * double(largest), found};
}

}  // namespace sana::kernels
