#include "platform/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace sana::platform {

constexpr uint64_t kMostBytesAtOnce = uint64_t(1) << 30;  // below the limit of one read call on Linux

// O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
FileHandle open_file(const std::string& path, uint64_t& bytes, std::string& problem) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) {
    problem = std::string("cannot be opened: ") + strerror(errno);
    return kNoFile;
  }
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    problem = "is not a regular file";
    return kNoFile;
  }
  bytes = uint64_t(status.st_size);
  return descriptor;
}

void close_file(FileHandle file) {
  close(static_cast<int>(file));
}

int64_t read_file(FileHandle file, uint64_t offset, void* target, uint64_t bytes, std::string& problem) {
  for (;;) {
    const ssize_t got =
        pread(static_cast<int>(file), target, std::min(bytes, kMostBytesAtOnce), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) problem = strerror(errno);
    return got;
  }
}

}  // namespace sana::platform
