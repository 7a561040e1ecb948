// Element types of activations, f32 and bf16, and the lanes of a vector that a load or store accesses.

#pragma once

#include <stdint.h>
#include <string.h>

#define SANA_INLINE inline __attribute__((always_inline))

namespace sana::cpu::SANA_ISA {

struct bf16 {
  uint16_t bits;
};

SANA_INLINE float to_float(float x) {
  return x;
}
SANA_INLINE float to_float(bf16 x) {
  const uint32_t b = static_cast<uint32_t>(x.bits) << 16;
  float y;
  memcpy(&y, &b, sizeof y);
  return y;
}
SANA_INLINE void set(float* p, float x) {
  *p = x;
}
SANA_INLINE void set(bf16* p, float x) {
  uint32_t b;
  memcpy(&b, &x, sizeof b);
  p->bits = static_cast<uint16_t>(x != x ? b >> 16 | 0x40 : (b + 0x7fff + (b >> 16 & 1)) >> 16);
}

// All lanes, or the first `count` (0 <= count <= kLanes).
struct AllLanes {};
struct FirstLanes {
  int count;
};

}  // namespace sana::cpu::SANA_ISA
