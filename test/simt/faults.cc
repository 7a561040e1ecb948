#include "test/simt/faults.h"

#include <cstdlib>
#include <map>
#include <mutex>
#include <sstream>

namespace simt {

std::string setting(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

size_t setting(const char* name, size_t otherwise) {
  const std::string value = setting(name);
  return value.empty() ? otherwise : std::stoull(value);
}

bool should_fail(const char* what) {
  static std::mutex mutex;
  static std::string asked;
  static std::map<std::string, size_t> left;  // remaining calls until one fails
  const std::lock_guard lock(mutex);
  if (const std::string now = setting("SIMT_FAIL"); now != asked) {
    asked = now;
    left.clear();
    std::istringstream list(now);
    for (std::string entry; std::getline(list, entry, ',');) {
      const size_t colon = entry.find(':');
      left[entry.substr(0, colon)] = colon == std::string::npos ? 1 : std::stoull(entry.substr(colon + 1));
    }
  }
  const auto found = left.find(what);
  return found != left.end() && found->second > 0 && --found->second == 0;
}

}  // namespace simt
