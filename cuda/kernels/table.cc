// The kernels in the order of kOperators.

#include "cuda/kernels/kernels.h"

namespace sana::cuda {

#define SANA_KERNEL(name, function) function,
const Kernel kKernels[] = {SANA_OPERATORS(SANA_KERNEL)};
#undef SANA_KERNEL

}  // namespace sana::cuda
