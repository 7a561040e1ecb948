// The CPU implementation of the table in core/backend.h.

#pragma once

#include "core/backend.h"

namespace sana::cpu {

extern const SanaBackend kBackend;

}  // namespace sana::cpu
