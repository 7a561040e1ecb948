// The kernels of one instruction set, in the order of kOperators.

#include "cpu/kernels/kernels.h"

namespace sana::cpu::SANA_ISA {

#define SANA_KERNEL(name, function) function,
const Kernel kKernels[] = {SANA_OPERATORS(SANA_KERNEL)};
#undef SANA_KERNEL

}  // namespace sana::cpu::SANA_ISA
