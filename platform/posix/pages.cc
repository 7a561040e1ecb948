#include "platform/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

namespace sana::platform {

#ifdef __SANITIZE_ADDRESS__

// The sanitizer checks the bounds of heap blocks, not of mapped pages.
void* map_pages(uint64_t bytes, std::string& problem) {
  void* data = nullptr;
  if (const int status = posix_memalign(&data, 64, bytes)) {
    problem = strerror(status);
    return nullptr;
  }
  return memset(data, 0, bytes);
}

void unmap_pages(void* data, uint64_t) {
  free(data);
}

#else

constexpr uint64_t kHugePagesFrom = 4 << 20;

void* map_pages(uint64_t bytes, std::string& problem) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    problem = strerror(errno);
    return nullptr;
  }
  if (bytes >= kHugePagesFrom) madvise(data, bytes, MADV_HUGEPAGE);
  return data;
}

void unmap_pages(void* data, uint64_t bytes) {
  munmap(data, bytes);
}

#endif

}  // namespace sana::platform
