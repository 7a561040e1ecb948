// Files that are read at any offset, from any thread.

#pragma once

#include <cstdint>
#include <string>

namespace sana::platform {

using FileHandle = intptr_t;
inline constexpr FileHandle kNoFile = -1;

// Opens a regular file and sets `bytes` to its size. On failure returns kNoFile and sets `problem` to the rest of a
// sentence that begins with the file's name. Never blocks, whatever kind of file it is.
FileHandle open_file(const std::string& path, uint64_t& bytes, std::string& problem);
void close_file(FileHandle);

// Reads at most `bytes` bytes at an offset. Returns the number of bytes read, 0 at the end of the file, or a negative
// number on failure, with the reason in `problem`.
int64_t read_file(FileHandle, uint64_t offset, void* target, uint64_t bytes, std::string& problem);

}  // namespace sana::platform
