// Large memory straight from the system: zero-filled, at least 64-byte aligned, in huge pages where that pays.

#pragma once

#include <stdint.h>

namespace sana::cpu {

void* map_pages(uint64_t bytes);  // null when there is not enough, with errno set
void unmap_pages(void* data, uint64_t bytes);

}  // namespace sana::cpu
