// Where the rows of a checkpoint tensor are read from: a file, or bytes that the caller handed over.

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
  // Any thread.
  virtual void read(uint64_t offset, void* target, uint64_t bytes) const = 0;
};

// A copy of a caller's bytes, which the caller may change or give back meanwhile.
class HostBytes : public ByteSource {
 public:
  HostBytes(const void* data, uint64_t bytes) : data_(std::make_unique_for_overwrite<char[]>(bytes)), bytes_(bytes) {
    if (bytes) std::memcpy(data_.get(), data, bytes);
  }

  // The whole of it: bytes that nobody reads are a caller's mistake.
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
