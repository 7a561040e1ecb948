// Whether a program is safe to run: nothing that passes can read or write outside its buffers.

#pragma once

#include <cstdint>
#include <span>

#include "core/backend.h"

namespace sana {

class Device;

// `buffer_bytes[0]` is the arena's size. Buffers are distinct memory. Throws ERR_SANA_PROGRAM, or the device's refusal
// of a tensor or a call, as an error in that call.
void validate(const Device&, std::span<const SanaCall>, std::span<const uint64_t> buffer_bytes);

}  // namespace sana
