// Arithmetic on tensors that cannot overflow: how many bytes one takes, whether it lies inside its buffer, whether two
// share memory.

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
int64_t rows(const SanaTensor&);  // of the last dimension

// Throws ERR_SANA_PROGRAM unless dtype, layout and shape make a tensor.
void check_shape(const SanaTensor&);
// The same, and unless it lies inside its buffer, aligned; what the device says where that cannot have it.
void check_tensor(const Device&, const SanaTensor&, uint64_t buffer_bytes);

// Bytes of the tensor inside its buffer, from its offset to the end of its last element; check_tensor has passed.
uint64_t span_bytes(const Device&, const SanaTensor&);

// Whether the two, in one buffer, share an element. Exact for rectangles of columns of one wider tensor.
bool overlap(const Device&, const SanaTensor&, const SanaTensor&);

// Whether the two are the same elements in the same order.
bool same_place(const SanaTensor&, const SanaTensor&);

}  // namespace sana
