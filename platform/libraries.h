// Shared libraries that are opened at run time.

#pragma once

#include <string>

namespace sana::platform {

void* open_library(const std::string& file, std::string& problem);  // null where it cannot be, and why
void* find_symbol(void* library, const char* name);                 // null where it has none
void close_library(void* library);

}  // namespace sana::platform
