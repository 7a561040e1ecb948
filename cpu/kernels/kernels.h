// One kernel per operator of the table, in the namespace of the instruction set that this translation unit is compiled
// for.

#pragma once

#include "core/generated/operators.h"
#include "cpu/kernel.h"

namespace sana::cpu::SANA_ISA {

#define SANA_DECLARE(name, function) void function(const Arguments&, Workers&);
SANA_OPERATORS(SANA_DECLARE)
#undef SANA_DECLARE

extern const Kernel kKernels[];  // in the order of kOperators

// Run a fixed number of register-only multiply-adds on all workers; return twice their number.
double run_peak_f32(Workers&);
double run_peak_bf16(Workers&);
double run_peak_i8(Workers&);

}  // namespace sana::cpu::SANA_ISA
