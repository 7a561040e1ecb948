// Records kernel launches for scripts/kernel-report: the file that SIMT_TRACE names gets a line for every kernel and
// launch shape, "<address in the library> <threads of a block> <bytes of dynamic shared memory>".

#pragma once

#include "test/simt/scheduler.h"

namespace simt {

void trace(const Grid&);  // not thread-safe

}  // namespace simt
