#include "core/file.h"

#include "core/error.h"

namespace sana {

File::File(std::string path) : path_(std::move(path)) {
  if (path_.empty() || path_.find('\0') != std::string::npos) {
    throw Error("ERR_SANA_ARGUMENT", "Expected `path` to be a file's path without NUL characters");
  }
  std::string problem;
  handle_ = platform::open_file(path_, bytes_, problem);
  if (handle_ == platform::kNoFile) throw Error("ERR_SANA_FILE", "%.512s %s", path_.c_str(), problem.c_str());
}

File::~File() {
  platform::close_file(handle_);
}

void File::check_range(uint64_t offset, uint64_t bytes) const {
  if (offset <= bytes_ && bytes <= bytes_ - offset) return;
  throw Error("ERR_SANA_FILE", "%.512s has %llu bytes; %llu bytes at offset %llu were requested", path_.c_str(),
              static_cast<unsigned long long>(bytes_), static_cast<unsigned long long>(bytes),
              static_cast<unsigned long long>(offset));
}

void File::read(uint64_t offset, void* target, uint64_t bytes) const {
  check_range(offset, bytes);
  for (uint64_t done = 0; done < bytes;) {
    std::string problem = "the file shrank while it was open";
    const int64_t got =
        platform::read_file(handle_, offset + done, static_cast<char*>(target) + done, bytes - done, problem);
    if (got <= 0) {
      throw Error("ERR_SANA_FILE", "%.512s: expected %llu bytes at offset %llu, got %llu: %s", path_.c_str(),
                  static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
                  static_cast<unsigned long long>(done), problem.c_str());
    }
    done += uint64_t(got);
  }
}

}  // namespace sana
