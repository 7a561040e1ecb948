#include "core/libraries.h"

#include <atomic>

#include "platform/libraries.h"

namespace sana {
namespace {

// The backend of a library, or null with the reason in `candidate`.
const SanaBackend* open(BackendLibrary& candidate) {
  auto& [file, problem, toolkit] = candidate;
  void* const library = platform::open_library(file, problem);
  if (!library) return nullptr;
  const auto entry = reinterpret_cast<const SanaBackend* (*)()>(platform::find_symbol(library, "sana_backend"));
  const SanaBackend* const backend = entry ? entry() : nullptr;
  if (!backend) {
    problem = "it is not a sana-native backend";
  } else if (backend->version != kSanaBackendVersion) {
    problem = "it was built for another version of sana-native: backend version " + std::to_string(backend->version) +
              ", expected " + std::to_string(kSanaBackendVersion);
  } else {
    toolkit = backend->toolkit;
    uint32_t count = 0;
    SanaFailure failure;
    if (backend->device_count(&count, &failure) != 0) {
      problem = failure.message;
    } else if (count == 0) {
      problem = "there is no NVIDIA device";
    } else {
      return backend;
    }
  }
  platform::close_library(library);
  return nullptr;
}

BackendLibraries open_all(const std::vector<std::string>& files) {
  BackendLibraries libraries;
  for (const std::string& file : files) {
    BackendLibrary library = {file, ""};
    if (libraries.backend) {
      library.problem = "not needed: another library is in use";
    } else {
      libraries.backend = open(library);
    }
    libraries.tried.push_back(std::move(library));
  }
  return libraries;
}

std::atomic<const BackendLibraries*> opened = nullptr;

}  // namespace

const BackendLibraries& open_libraries(const std::vector<std::string>& files) {
  static const BackendLibraries libraries = open_all(files);
  opened = &libraries;
  return libraries;
}

const BackendLibraries& backend_libraries() {
  static const BackendLibraries none;
  const BackendLibraries* libraries = opened;
  return libraries ? *libraries : none;
}

}  // namespace sana
