#include "binding/backends.h"

#include <cstring>
#include <string>

#include "core/error.h"
#include "core/libraries.h"
#include "cpu/backend.h"

namespace sana {

std::vector<const SanaBackend*> backends() {
  std::vector<const SanaBackend*> found;
  if (const SanaBackend* cuda = backend_libraries().backend) found.push_back(cuda);
  found.push_back(&cpu::kBackend);
  return found;
}

const SanaBackend& backend_by_name(const char* name) {
  std::string choices;
  for (const SanaBackend* backend : backends()) {
    if (std::strcmp(backend->name, name) == 0) return *backend;
    choices += (choices.empty() ? "" : ", ") + std::string(backend->name);
  }
  throw Error("ERR_SANA_DEVICE", "there is no backend '%.40s'; available: %s", name, choices.c_str());
}

}  // namespace sana
