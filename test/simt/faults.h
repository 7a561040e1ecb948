// Faults that tests inject, by environment variables that are read at every call:
//
//   SIMT_DRIVER=none|old     there is no driver, or it is too old
//   SIMT_DEVICES=0           fewer devices than three
//   SIMT_CAPABILITY=75       the compute capability of every device; default: 89
//   SIMT_MEMORY_BYTES=...    the memory of every device
//   SIMT_FAIL=cudaMalloc:3   the third call from now fails; a comma-separated list. Besides functions of the runtime:
//                            launch: the launch is refused, kernel: the kernel faults when it runs

#pragma once

#include <cstddef>
#include <string>

namespace simt {

// The value of a variable, or "" if it is not set.
std::string setting(const char* name);

// The value of a variable as a number, or `otherwise` if it is not set.
size_t setting(const char* name, size_t otherwise);

// Counts this call of `what`, and returns whether SIMT_FAIL makes it fail.
bool should_fail(const char* what);

}  // namespace simt
