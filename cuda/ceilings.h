#pragma once

#include "cuda/device.h"

namespace sana::cuda {

// Runs on the device for some tenths of a second; the executor's thread only.
SanaCeilings measure_ceilings(SanaDevice&);

}  // namespace sana::cuda
