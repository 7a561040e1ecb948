// The backends that live in libraries of their own: one per CUDA major version. The first one that can be opened and
// has a device is used; of every other it is known why not. Which files are tried is decided in
// lib/device/addon/cuda-libraries.ts.

#pragma once

#include <string>
#include <vector>

#include "core/backend.h"

namespace sana {

struct BackendLibrary {
  std::string file;
  std::string problem;   // empty: it is used
  uint32_t toolkit = 0;  // the CUDA version it was built with, as in SanaBackend; 0 where it cannot be asked
};

struct BackendLibraries {
  const SanaBackend* backend = nullptr;  // of the one that is used
  std::vector<BackendLibrary> tried;
};

// Opens them in order. Once a process: later calls, as those of worker threads, get what the first one found.
const BackendLibraries& open_libraries(const std::vector<std::string>& files);

// What has been opened so far.
const BackendLibraries& backend_libraries();

}  // namespace sana
