#include "platform/libraries.h"

#include <dlfcn.h>
#include <unistd.h>

namespace sana::platform {

void* open_library(const std::string& file, std::string& problem) {
  if (access(file.c_str(), F_OK) != 0) {
    problem = "the file does not exist";
    return nullptr;
  }
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    problem = reason ? reason : "it cannot be opened";
  }
  return library;
}

void* find_symbol(void* library, const char* name) {
  return dlsym(library, name);
}

void close_library(void* library) {
  dlclose(library);
}

}  // namespace sana::platform
