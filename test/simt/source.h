// Where in the sources a piece of code is.

#pragma once

#include <string>

namespace simt {

// "transpose_kernel<float, float>", as far as the library's symbols tell.
std::string name_of(const void* function);

// "elementwise.cu:37"; empty where the library was built without line numbers.
std::string line_of(const void* code);

}  // namespace simt
