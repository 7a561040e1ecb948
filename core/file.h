// Regular files, read at any offset. Ranges are checked against the size that the file had when it was opened.

#pragma once

#include <string>

#include "core/byte_source.h"
#include "platform/file.h"

namespace sana {

class File : public ByteSource {
 public:
  explicit File(std::string path);  // ERR_SANA_FILE: missing, not a regular file, or not readable
  ~File() override;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  uint64_t bytes() const { return bytes_; }
  void check_range(uint64_t offset, uint64_t bytes) const override;
  // Thread-safe. ERR_SANA_FILE if the file has shrunk since it was opened.
  void read(uint64_t offset, void* target, uint64_t bytes) const override;

 private:
  const std::string path_;
  platform::FileHandle handle_ = platform::kNoFile;
  uint64_t bytes_ = 0;
};

}  // namespace sana
