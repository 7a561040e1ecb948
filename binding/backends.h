// The backends that this addon can reach: a CUDA library where one was opened, and the CPU's.

#pragma once

#include <vector>

#include "core/backend.h"

namespace sana {

std::vector<const SanaBackend*> backends();  // the CPU's last

const SanaBackend& backend_by_name(const char* name);  // ERR_SANA_DEVICE names those there are

}  // namespace sana
