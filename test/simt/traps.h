// Faults of the host's processor while a kernel runs, a wild pointer or a misaligned vector, end the launch as they
// would on a device, and not the process.

#pragma once

namespace simt {

// While it lives, such faults of this thread call abandon_launch. The address sanitizer has its own way.
class Traps {
 public:
  Traps();
  ~Traps();
  Traps(const Traps&) = delete;
  Traps& operator=(const Traps&) = delete;
};

}  // namespace simt
