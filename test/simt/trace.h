// How kernels are launched, for scripts/kernel-report: the file that SIMT_TRACE names gets a line for every kernel and
// launch shape, "<address in the library> <threads of a block> <bytes of dynamic shared memory>".

#pragma once

#include "test/simt/scheduler.h"

namespace simt {

void trace(const Grid&);  // one thread at a time

}  // namespace simt
