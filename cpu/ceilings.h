// What this machine's processors and memory can do at most.

#pragma once

#include "core/backend.h"
#include "cpu/paths.h"
#include "cpu/workers.h"

namespace sana::cpu {

// Measures for a few tenths of a second, on all workers.
SanaCeilings measure_ceilings(const Path&, Workers&);

}  // namespace sana::cpu
