#include "test/kernels/values.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#include "core/generated/operators.h"
#include "core/tensor.h"

namespace sana::kernels {
namespace {

// Operands that are not uniform from -1 to 1: the scale that gives outputs near 1, or reaches the nonlinear range of a
// formula.
constexpr struct Range {
  const char* op;
  const char* operand;
  float half_width;
  float centre = 0;
} kRanges[] = {
    {"multiScaleProject", "depthwise", 0.4f},
    {"layerNormModulate", "x", 2, 0.7f},
    {"crossAttention", "q", 3},
    {"causalAttention", "qkv", 2},
    {"causalAttention", "prefix", 2},
    {"timestepEmbedding", "timestep", 500, 500},
    {"activation", "x", 8},
    {"convert", "x", 100},
    {"solverStep", "coefficients", 3},
    {"toRgb8", "x", 1.3f},
    {"countNonFinite", "x", 60000},  // f16 ends at 65504
};

constexpr int64_t kNonFiniteEvery = 97;  // elements of x, for operators that define the result for them

Range range_of(const OperatorSpec& spec, const char* operand, const SanaTensor& tensor) {
  for (const Range& range : kRanges) {
    if (!std::strcmp(range.op, spec.name) && !std::strcmp(range.operand, operand)) return range;
  }
  const auto inputs = static_cast<float>(elements(tensor) / tensor.shape[0]);  // per output of a matrix
  if (tensor.layout != kSanaDense && tensor.layout != kSanaDepthwise) return {"", "", 3 / std::sqrt(inputs)};
  if (!std::strcmp(operand, "pointwise")) return {"", "", 1 / std::sqrt(inputs)};
  return {"", "", 1};
}

// splitmix64 of an index: uniform from -1 to 1.
float uniform(uint64_t index) {
  uint64_t z = (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<float>(static_cast<int32_t>((z ^ (z >> 31)) >> 32)) * 0x1p-31f;
}

float non_finite(int64_t i) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return i % 3 == 0 ? std::numeric_limits<float>::quiet_NaN() : i % 3 == 1 ? kInfinity : -kInfinity;
}

uint16_t f16_bits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  uint32_t half;
  if (size > 0x7f800000) {
    half = 0x7e00;
  } else if (size >= 0x477ff000) {  // at least 65520
    half = 0x7c00;
  } else if (size < 0x38800000) {  // below 2^-14 the spacing is 2^-24, which is that of f32 at 1/2
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  } else {
    half = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}

float f16_value(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16, size = half & 0x7fff;
  const float value = size < 0x7c00 ? std::bit_cast<float>(size << 13) * 0x1p112f
                                    : std::bit_cast<float>(0x7f800000 | (size & 0x3ff) << 13);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) | sign);
}

// Rounds a number of at most 448 to nearest even in e4m3: four significant bits from 2^-6 on, steps of 2^-9 below.
float nearest_f8(float value) {
  const float step = std::ldexp(1.0f, std::max(value == 0 ? -6 : std::ilogb(value), -6) - 3);
  return std::nearbyint(value / step) * step;
}

// Rounds every row to multiples of its largest magnitude / 127, or to e4m3 times that magnitude / 448.
void quantize_rows(std::vector<float>& values, int64_t columns, uint32_t dtype) {
  const bool f8 = dtype == kSanaF8;
  for (auto row = values.begin(); row != values.end(); row += columns) {
    float largest = 0;
    for (auto x = row; x != row + columns; ++x) largest = std::max(largest, std::fabs(*x));
    const float scale = largest / (f8 ? 448 : 127), inverse = largest > 0 ? 1 / scale : 0;
    for (auto x = row; x != row + columns; ++x) {
      *x = scale * (f8 ? nearest_f8(*x * inverse) : std::nearbyint(*x * inverse));
    }
  }
}

template <class Stored>
Stored load(const void* element) {
  Stored stored;
  std::memcpy(&stored, element, sizeof stored);
  return stored;
}

}  // namespace

float decode(const void* element, uint32_t dtype) {
  switch (dtype) {
    case kSanaF32:
      return load<float>(element);
    case kSanaBF16:
      return std::bit_cast<float>(uint32_t(load<uint16_t>(element)) << 16);
    case kSanaF16:
      return f16_value(load<uint16_t>(element));
    case kSanaI32:
      return static_cast<float>(load<int32_t>(element));
    default:
      return load<uint8_t>(element);
  }
}

void encode(float value, uint32_t dtype, void* element) {
  if (dtype == kSanaF32) {
    std::memcpy(element, &value, sizeof value);
    return;
  }
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto half = dtype == kSanaF16   ? f16_bits(value)
                    : std::isnan(value) ? uint16_t{0x7fc0}
                                        : static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  std::memcpy(element, &half, sizeof half);
}

std::vector<std::vector<float>> input_values(const SanaCall& call) {
  const OperatorSpec& spec = kOperators[call.op];
  const bool takes_non_finite = !std::strcmp(spec.name, "toRgb8") || !std::strcmp(spec.name, "countNonFinite");
  std::vector<std::vector<float>> values;
  for (int i = 0; spec.operands[i].name; ++i) {
    const SanaTensor& tensor = call.operands[i];
    std::vector<float>& filled = values.emplace_back();
    if (tensor.rank == 0 || !std::strcmp(spec.operands[i].role, "out")) continue;
    const Range range = range_of(spec, spec.operands[i].name, tensor);
    const uint32_t dtype = is_quantized(tensor.dtype) ? uint32_t{kSanaF32} : tensor.dtype;  // until it is packed
    filled.resize(static_cast<size_t>(elements(tensor)));
    for (size_t j = 0; j < filled.size(); ++j) {
      filled[j] = rounded(range.centre + range.half_width * uniform(uint64_t(i) << 40 | j), dtype);
      if (takes_non_finite && j % kNonFiniteEvery == 0)
        filled[j] = non_finite(static_cast<int64_t>(j) / kNonFiniteEvery);
    }
  }
  return values;
}

std::vector<std::vector<float>> reference_values(const SanaCall& call, std::vector<std::vector<float>> values) {
  const SanaTensor* const weight = std::find_if(std::begin(call.operands), std::end(call.operands),
                                                [](const SanaTensor& tensor) { return is_quantized(tensor.dtype); });
  if (weight == std::end(call.operands)) return values;
  quantize_rows(values[0], columns(call.operands[0]), weight->dtype);  // x
  quantize_rows(values[static_cast<size_t>(weight - call.operands)], columns(*weight), weight->dtype);
  return values;
}

}  // namespace sana::kernels
