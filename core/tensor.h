// Tensor arithmetic that cannot overflow: the size of a tensor, whether it lies inside its buffer, and whether two
// tensors overlap.

#pragma once

#include <string>

#include "core/backend.h"
#include "core/dtypes.h"
#include "core/generated/operators.h"

namespace sana {

class Device;

std::string to_text(const SanaTensor&);  // "bf16 [2, 1024, 1152]"

int64_t elements(const SanaTensor&);
int64_t columns(const SanaTensor&);
int64_t rows(const SanaTensor&);  // the product of all dimensions but the last

// Throws ERR_SANA_PROGRAM unless dtype, layout and shape are valid together.
void check_shape(const SanaTensor&);
// Checks the shape, and that the tensor is aligned and lies inside its buffer. Throws the device's error if the device
// does not support the tensor.
void check_tensor(const Device&, const SanaTensor&, uint64_t buffer_bytes);

// Bytes of the tensor inside its buffer, from its offset to the end of its last element; check_tensor has passed.
uint64_t span_bytes(const Device&, const SanaTensor&);

// Whether two tensors in the same buffer share an element. Exact for ranges of columns of the same wider tensor.
bool overlap(const Device&, const SanaTensor&, const SanaTensor&);

// Whether the two tensors are the same elements in the same order.
bool same_place(const SanaTensor&, const SanaTensor&);

}  // namespace sana
