// The interface of a CPU kernel. Kernels are compiled once per instruction set, inside sana::cpu::SANA_ISA. Code for
// one instruction set must never be linked into another, so kernels use no std:: templates.

#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/arguments.h"
#include "cpu/workers.h"

namespace sana::cpu {

using Kernel = void (*)(const Arguments&, Workers&);

}  // namespace sana::cpu
