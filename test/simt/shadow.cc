#include "test/simt/shadow.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

namespace simt::checker {

Pages::Pages(size_t bytes)
    : data_(static_cast<char*>(
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))),
      bytes_(bytes) {
  if (data_ == MAP_FAILED) throw std::bad_alloc();
}

Pages::~Pages() {
  munmap(data_, bytes_);
}

bool Shadow::is_filled(uintptr_t address, size_t count) const {
  if (all_filled_) return true;
  return std::memchr(filled_.data() + (address - begin), 0, count) == nullptr;
}

void Shadow::fill(uintptr_t address, size_t count) {
  if (all_filled_) return;
  if (count == bytes) {
    all_filled_ = true;
    return;
  }
  std::memset(filled_.data() + (address - begin), 1, count);
}

}  // namespace simt::checker
