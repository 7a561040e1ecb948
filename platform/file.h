// Files for reading at any offset, from any thread.

#pragma once

#include <cstdint>
#include <string>

namespace sana::platform {

using FileHandle = intptr_t;
inline constexpr FileHandle kNoFile = -1;

// Opens a regular file and says how long it is. kNoFile: it cannot be, and `problem` ends the sentence that began with
// the file's name. Never waits, whatever the name stands for.
FileHandle open_file(const std::string& path, uint64_t& bytes, std::string& problem);
void close_file(FileHandle);

// Reads at most `bytes` bytes at an offset. Returns how many; 0 at the end of the file; less than 0 where it failed,
// and why in `problem`.
int64_t read_file(FileHandle, uint64_t offset, void* target, uint64_t bytes, std::string& problem);

}  // namespace sana::platform
