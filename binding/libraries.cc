#include "binding/libraries.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace sana {
namespace {

constexpr const char* kMajorVersions[] = {"13", "12"};  // the newest first: an old driver refuses it

// The folder that this addon was loaded from, with a slash at its end.
std::string own_folder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<const void*>(&backend_libraries), &info) || !info.dli_fname) return "./";
  const std::string file = info.dli_fname;
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "./" : file.substr(0, slash + 1);
}

// The backend of a library, or null and why.
const SanaBackend* open(const std::string& file, std::string& problem) {
  if (access(file.c_str(), F_OK) != 0) {
    problem = "it is not there";
    return nullptr;
  }
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* reason = dlerror();
    problem = reason ? reason : "it cannot be opened";
    return nullptr;
  }
  const auto entry = reinterpret_cast<const SanaBackend* (*)()>(dlsym(library, "sana_backend"));
  const SanaBackend* const backend = entry ? entry() : nullptr;
  if (!backend) {
    problem = "it is no backend of sana-native";
  } else if (backend->version != kSanaBackendVersion) {
    problem = "it was built for another version of sana-native: backend version " + std::to_string(backend->version) +
              ", expected " + std::to_string(kSanaBackendVersion);
  } else {
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
  dlclose(library);
  return nullptr;
}

BackendLibraries open_libraries() {
  const char* const given = std::getenv("SANA_NATIVE_CUDA");
  const std::string choice = given ? given : "";
  BackendLibraries libraries;
  std::vector<std::string> files;
  if (choice.find('/') != std::string::npos) {
    files.push_back(choice);
  } else {
    for (const char* major : kMajorVersions) {
      const std::string file = own_folder() + "libsana_cuda" + major + ".so";
      if (choice.empty() || choice == major) {
        files.push_back(file);
      } else {
        libraries.tried.push_back({file, "SANA_NATIVE_CUDA=" + choice + " excludes it"});
      }
    }
  }
  for (const std::string& file : files) {
    BackendLibrary library = {file, ""};
    if (libraries.backend) {
      library.problem = "another one is used";
    } else {
      libraries.backend = open(file, library.problem);
    }
    libraries.tried.push_back(std::move(library));
  }
  return libraries;
}

}  // namespace

const BackendLibraries& backend_libraries() {
  static const BackendLibraries libraries = open_libraries();
  return libraries;
}

}  // namespace sana
