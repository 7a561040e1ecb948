// The source of the rows of a checkpoint tensor: a file, or bytes passed by the caller.

#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

#include "core/error.h"

namespace sana {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Throws unless the bytes lie inside the source.
  virtual void check_range(uint64_t offset, uint64_t bytes) const = 0;
  // Thread-safe.
  virtual void read(uint64_t offset, void* target, uint64_t bytes) const = 0;
};

// A copy of the caller's bytes: the caller may change or free the original meanwhile.
class HostBytes : public ByteSource {
 public:
  HostBytes(const void* data, uint64_t bytes) : data_(std::make_unique_for_overwrite<char[]>(bytes)), bytes_(bytes) {
    if (bytes) std::memcpy(data_.get(), data, bytes);
  }

  // The range must be all of the bytes: unread bytes mean that the caller made a mistake.
  void check_range(uint64_t offset, uint64_t bytes) const override {
    if (offset == 0 && bytes == bytes_) return;
    throw Error("ERR_SANA_ARGUMENT", "Expected `data` to be the %llu bytes of the rows, got %llu",
                static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(bytes_));
  }
  void read(uint64_t offset, void* target, uint64_t bytes) const override {
    std::memcpy(target, data_.get() + offset, bytes);
  }

 private:
  const std::unique_ptr<char[]> data_;
  const uint64_t bytes_;
};

}  // namespace sana
