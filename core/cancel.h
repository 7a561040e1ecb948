// How work that is under way is told to stop.

#pragma once

#include <cstdint>

namespace sana {

// Raised on one thread, read on another, also by backends.
class CancelFlag {
 public:
  void raise() { __atomic_store_n(&value_, 1, __ATOMIC_RELAXED); }
  bool raised() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED) != 0; }
  const volatile int32_t* address() const { return &value_; }

 private:
  int32_t value_ = 0;
};

}  // namespace sana
