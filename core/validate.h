// Whether a program is safe to run: nothing that passes can read or write outside its buffers.

#pragma once

#include <cstdint>
#include <span>

#include "core/backend.h"

namespace sana {

class Device;

// `buffer_bytes[0]` is the arena's size. Buffers are distinct memory. Throws ERR_SANA_PROGRAM, or what the device has
// against a tensor, naming the call.
void validate(const Device&, std::span<const SanaCall>, std::span<const uint64_t> buffer_bytes);

}  // namespace sana
