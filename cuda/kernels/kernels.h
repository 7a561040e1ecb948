// One function per operator of the table.

#pragma once

#include "core/generated/operators.h"
#include "cuda/kernel.h"

namespace sana::cuda {

#define SANA_DECLARE(name, function) void function(const Call&, const Stream&);
SANA_OPERATORS(SANA_DECLARE)
#undef SANA_DECLARE

extern const Kernel kKernels[];  // in the order of kOperators

// Run a fixed number of register-only multiply-adds on the whole device; return twice their number.
double run_peak_f32(const Stream&);
double run_peak_bf16(const Stream&);
double run_peak_i8(const Stream&);

}  // namespace sana::cuda
