// The values of operands: seeded, chosen to keep outputs near 1, rounded to the operand's dtype; and their bytes.

#pragma once

#include <cstdint>
#include <vector>

#include "core/backend.h"

namespace sana::kernels {

float decode(const void* element, uint32_t dtype);        // of any dtype
void encode(float value, uint32_t dtype, void* element);  // f32, bf16 or f16, rounded to nearest even
inline float rounded(float value, uint32_t dtype) {
  uint32_t element;
  encode(value, dtype, &element);
  return decode(&element, dtype);
}

// The values of every operand that the call reads, row-major, and empty for the others. Weights are in the order of
// checkpoints. The values are the same every time.
std::vector<std::vector<float>> input_values(const SanaCall&);

// The values for the reference, a call in which every dtype is f32. If a weight is i8 or f8, they are the dequantised
// values of the weight and of x (see linear in lib/graph/operators/matrix.ts).
std::vector<std::vector<float>> reference_values(const SanaCall&, std::vector<std::vector<float>> values);

}  // namespace sana::kernels
