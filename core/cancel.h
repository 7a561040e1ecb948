// The flag that stops running work.

#pragma once

#include <cstdint>

namespace sana {

// Raised on one thread and read on another, by backends too.
class CancelFlag {
 public:
  void raise() { __atomic_store_n(&value_, 1, __ATOMIC_RELAXED); }
  bool raised() const { return __atomic_load_n(&value_, __ATOMIC_RELAXED) != 0; }
  const volatile int32_t* address() const { return &value_; }

 private:
  int32_t value_ = 0;
};

}  // namespace sana
