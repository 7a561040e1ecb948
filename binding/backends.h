// The available backends: CUDA, if a library was opened, and the CPU.

#pragma once

#include <vector>

#include "core/backend.h"

namespace sana {

std::vector<const SanaBackend*> backends();  // the CPU's is last

const SanaBackend& backend_by_name(const char* name);  // ERR_SANA_DEVICE, with the available ones

}  // namespace sana
