// Large memory blocks directly from the system: zero-filled, at least 64-byte aligned, in huge pages if large enough.

#pragma once

#include <cstdint>
#include <string>

namespace sana::platform {

void* map_pages(uint64_t bytes, std::string& problem);  // null on failure, with the reason in `problem`
void unmap_pages(void* data, uint64_t bytes);

}  // namespace sana::platform
