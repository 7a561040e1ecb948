// Checks that a program is safe to run: a program that passes cannot read or write outside its buffers.

#pragma once

#include <cstdint>
#include <span>

#include "core/backend.h"

namespace sana {

class Device;

// `buffer_bytes[0]` is the arena's size. Buffers are distinct memory. Throws ERR_SANA_PROGRAM, or the device's error
// for an unsupported tensor or call, with the index of the call.
void validate(const Device&, std::span<const SanaCall>, std::span<const uint64_t> buffer_bytes);

}  // namespace sana
