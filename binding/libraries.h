// The backends that live in libraries of their own, beside the addon: one per CUDA major version. The first one that
// can be opened and has a device is used; of every other it is known why not.

#pragma once

#include <string>
#include <vector>

#include "binding/backend.h"

namespace sana {

struct BackendLibrary {
  std::string file;
  std::string problem;  // empty: it is used
};

struct BackendLibraries {
  const SanaBackend* backend = nullptr;  // of the one that is used
  std::vector<BackendLibrary> tried;
};

// Opened once a process, at the first call. SANA_NATIVE_CUDA chooses: `off`, a major version, or the path of a library.
const BackendLibraries& backend_libraries();

}  // namespace sana
