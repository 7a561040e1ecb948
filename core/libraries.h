// The backends that are separate libraries: one per CUDA major version. The first one that can be opened and has a
// device is used; for each of the others, the reason why it is not used is recorded. lib/device/addon/cuda-libraries.ts
// decides which files are tried.

#pragma once

#include <string>
#include <vector>

#include "core/backend.h"

namespace sana {

struct BackendLibrary {
  std::string file;
  std::string problem;   // why it is not used; empty if it is
  uint32_t toolkit = 0;  // the CUDA version it was built with, as in SanaBackend; 0 if unknown
};

struct BackendLibraries {
  const SanaBackend* backend = nullptr;  // of the library in use, or null
  std::vector<BackendLibrary> tried;
};

// Opens the files in order. Happens once per process: later calls, such as those of worker threads, return the result
// of the first.
const BackendLibraries& open_libraries(const std::vector<std::string>& files);

// The result of open_libraries; empty before its first call.
const BackendLibraries& backend_libraries();

}  // namespace sana
