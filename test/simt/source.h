// The place of an address of code in the sources.

#pragma once

#include <string>

namespace simt {

// The function: "transpose_kernel<float, float>", if the library has symbols.
std::string name_of(const void* function);

// The line: "elementwise.cu:37"; empty if the library was built without line numbers.
std::string line_of(const void* code);

}  // namespace simt
