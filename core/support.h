// What a device has kernels for, as far as dtypes decide it: the one reading of SanaDeviceInfo's refusals that every
// backend shares.

#pragma once

#include "core/backend.h"
#include "core/error.h"

namespace sana {

// Throws the device's refusal of the dtype, if it has one.
inline void check_dtype(const SanaRefusal (&refusals)[kSanaDTypeCount], uint32_t dtype) {
  if (const SanaRefusal& refusal = refusals[dtype]; refusal.code) throw Error(refusal.code, "%s", refusal.reason);
}

// The same for every operand of a call.
inline void check_dtypes(const SanaRefusal (&refusals)[kSanaDTypeCount], const SanaCall& call) {
  for (const SanaTensor& operand : call.operands) {
    if (operand.rank) check_dtype(refusals, operand.dtype);
  }
}

}  // namespace sana
