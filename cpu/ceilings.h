// The peak rates of this machine's processors and memory.

#pragma once

#include "core/backend.h"
#include "cpu/paths.h"
#include "cpu/workers.h"

namespace sana::cpu {

// Takes a few tenths of a second, on all workers.
SanaCeilings measure_ceilings(const Path&, Workers&);

}  // namespace sana::cpu
