// What tests make go wrong. Environment variables, read at every call:
//
//   SIMT_DRIVER=none|old     there is no driver, or one that is too old
//   SIMT_DEVICES=0           fewer devices than three
//   SIMT_CAPABILITY=75       the compute capability of every device, else 89
//   SIMT_MEMORY_BYTES=...    the memory of every device
//   SIMT_FAIL=cudaMalloc:3   the third call from now fails; a list with commas. Besides functions of the runtime:
//                            launch: the launch is refused, kernel: the kernel faults when it runs

#pragma once

#include <cstddef>
#include <string>

namespace simt {

// "" or the value of a variable.
std::string setting(const char* name);

// The value of a variable as a number, `otherwise` when it is not set.
size_t setting(const char* name, size_t otherwise);

// Counts this call of `what`: whether SIMT_FAIL says that it fails.
bool should_fail(const char* what);

}  // namespace simt
