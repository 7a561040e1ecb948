// What operands hold: seeded values that keep outputs near 1, rounded to the operand's dtype, and their bytes.

#pragma once

#include <cstdint>
#include <vector>

#include "core/backend.h"

namespace sana::kernels {

float decode(const void* element, uint32_t dtype);        // of any dtype
void encode(float value, uint32_t dtype, void* element);  // f32, bf16 (halves to even), f16 (the same)
inline float rounded(float value, uint32_t dtype) {
  uint32_t element;
  encode(value, dtype, &element);
  return decode(&element, dtype);
}

// The values of every operand that the call reads, row-major, empty for those it does not; weights are in the order of
// checkpoints. The same ones every time.
std::vector<std::vector<float>> input_values(const SanaCall&);

// What the reference is given in their place, for a call whose every dtype is f32: where a weight is i8 or f8, the
// numbers that its bytes and those of x stand for (see linear in lib/graph/operators/matrix.ts).
std::vector<std::vector<float>> reference_values(const SanaCall&, std::vector<std::vector<float>> values);

}  // namespace sana::kernels
