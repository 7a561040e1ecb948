#pragma once

#include "cuda/device.h"

namespace sana::cuda {

// Takes a few tenths of a second on the device. Executor thread only.
SanaCeilings measure_ceilings(SanaDevice&);

}  // namespace sana::cuda
