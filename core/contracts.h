// The requirements of each operator that its row in the table cannot express: which shapes fit together.

#pragma once

#include "core/backend.h"
#include "core/generated/operators.h"

namespace sana {

// Throws ERR_SANA_PROGRAM naming the operands and their shapes. The caller has checked that every operand passes
// check_tensor, required operands are present, dtypes and layouts match the row, and attributes are of the right kind.
void check_contract(const OperatorSpec&, const SanaCall&);

}  // namespace sana
