// What each operator demands of its operands and attributes beyond its entry in ops.h: which shapes fit together.

#pragma once

#include "core/backend.h"
#include "core/ops.h"

namespace sana {

// Throws ERR_SANA_PROGRAM naming the operands and their shapes. Every operand has passed check_tensor, required ones
// are present, dtypes and layouts are those of the entry, attributes are of their kind.
void check_contract(const OperatorSpec&, const SanaCall&);

}  // namespace sana
