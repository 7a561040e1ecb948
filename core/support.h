// Checks the dtypes that a device supports. Every backend uses these functions to evaluate SanaDeviceInfo's refusals.

#pragma once

#include "core/backend.h"
#include "core/error.h"

namespace sana {

// Throws if the device refuses the dtype.
inline void check_dtype(const SanaRefusal (&refusals)[kSanaDTypeCount], uint32_t dtype) {
  if (const SanaRefusal& refusal = refusals[dtype]; refusal.code) throw Error(refusal.code, "%s", refusal.reason);
}

// Throws if the device refuses the dtype of any operand of the call.
inline void check_dtypes(const SanaRefusal (&refusals)[kSanaDTypeCount], const SanaCall& call) {
  for (const SanaTensor& operand : call.operands) {
    if (operand.rank) check_dtype(refusals, operand.dtype);
  }
}

}  // namespace sana
