// Large memory straight from the system: zero-filled, at least 64-byte aligned, in huge pages where that pays.

#pragma once

#include <cstdint>
#include <string>

namespace sana::platform {

void* map_pages(uint64_t bytes, std::string& problem);  // null where it cannot be had, and why
void unmap_pages(void* data, uint64_t bytes);

}  // namespace sana::platform
