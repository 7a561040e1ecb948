// The processors and memory that this process may use, including the limits of its control group.

#pragma once

#include <stdint.h>

namespace sana::platform {

uint32_t usable_processors();  // affinity mask and processor quota; at least 1

struct HostMemory {
  uint64_t total_bytes;
  uint64_t free_bytes;
};
HostMemory host_memory();

void processor_name(char* name, uint64_t size);

}  // namespace sana::platform
