// Shared libraries that are opened at run time.

#pragma once

#include <string>

namespace sana::platform {

void* open_library(const std::string& file, std::string& problem);  // null on failure, with the reason in `problem`
void* find_symbol(void* library, const char* name);                 // null if not found
void close_library(void* library);

}  // namespace sana::platform
