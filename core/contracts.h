// What each operator demands of its operands and attributes beyond its row in the table: which shapes fit together.

#pragma once

#include "core/backend.h"
#include "core/generated/operators.h"

namespace sana {

// Throws ERR_SANA_PROGRAM naming the operands and their shapes. Every operand has passed check_tensor, required ones
// are present, dtypes and layouts are those of the row, attributes are of their kind.
void check_contract(const OperatorSpec&, const SanaCall&);

}  // namespace sana
