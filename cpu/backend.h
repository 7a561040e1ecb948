// The CPU's implementation of the table in binding/backend.h.

#pragma once

#include "binding/backend.h"

namespace sana::cpu {

extern const SanaBackend kBackend;

}  // namespace sana::cpu
