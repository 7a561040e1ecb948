// A fault of the host's processor while a kernel runs, such as a wild pointer or a misaligned vector, ends the launch,
// as on a device, and not the process.

#pragma once

namespace simt {

// During the object's lifetime, such faults of this thread call abandon_launch. Not used with the address sanitizer,
// which handles them itself.
class Traps {
 public:
  Traps();
  ~Traps();
  Traps(const Traps&) = delete;
  Traps& operator=(const Traps&) = delete;
};

}  // namespace simt
